//! What each registered kind of tuner is tested with, and what does not hold for it and why.

use serde_json::{json, Value as Json};

/// What must hold for every kind; the tests in `main.rs` say what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    Gradients,
    Merging,
    Files,
    Rows,
    Inactive,
    Failing,
}

pub struct Case {
    pub name: &'static str,
    /// A folder of `fixtures/models`.
    pub base: &'static str,
    pub config: Json,
    /// What cannot hold, with the reason. A test of it fails, or it would not stand here.
    pub except: Vec<(Property, &'static str)>,
    /// Tensors whose gradients are no derivatives, by parts of their names, with the reason.
    pub not_derived: Vec<(&'static str, &'static str)>,
}

impl Case {
    fn except(mut self, property: Property, why: &'static str) -> Self {
        self.except.push((property, why));
        self
    }

    fn not_derived(mut self, part: &'static str, why: &'static str) -> Self {
        self.not_derived.push((part, why));
        self
    }
}

fn case(name: &'static str, base: &'static str, config: Json) -> Case {
    Case { name, base, config, except: Vec::new(), not_derived: Vec::new() }
}

const NORM: &str = "DoRA's norm counts as constant (section 4.3 of the paper)";
const ONE_BIAS: &str = "PEFT has one adapter with biases, so that there are no two to run row by row";
const ONE_NAME: &str = "the blocks' tensors carry no adapter's name, so that a layer takes one such adapter";

/// Of the U-Net: a convolution of 3×3, one of 1×1 and a linear layer.
const KERNEL: &str = "down_blocks.0.resnets.0.conv1";
const POINT: &str = "down_blocks.1.resnets.0.conv_shortcut";
const QUERY: &str = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";

/// LoRA's cases, which both worlds have.
fn lora(of: impl Fn(Json) -> Json) -> Vec<Case> {
    let dora =
        |name, base, fields| case(name, base, of(fields)).not_derived("lora_A", NORM).not_derived("lora_B", NORM);
    vec![
        case("linear", "llama", of(json!({ "r": 3, "target_modules": ["q_proj", "v_proj", "down_proj"] }))),
        case("dropout", "llama", of(json!({ "r": 2, "target_modules": ["o_proj", "up_proj"], "lora_dropout": 0.3 }))),
        case(
            "patterns",
            "llama",
            of(json!({
                "r": 4, "target_modules": ["q_proj", "k_proj"], "use_rslora": true, "rank_pattern": { "k_proj": 2 },
                "alpha_pattern": { "layers.1.self_attn.q_proj": 3 }, "layers_to_transform": [1, 2],
            })),
        ),
        case("conv1d", "gpt2", of(json!({ "r": 2, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": true }))),
        case("conv2d", "unet2d", of(json!({ "r": 2, "target_modules": [KERNEL, POINT, QUERY] }))),
        case("embedding", "llama", of(json!({ "r": 2, "target_modules": ["embed_tokens", "v_proj"] }))),
        case(
            "bias",
            "llama-tied-bias",
            of(json!({ "r": 2, "target_modules": ["q_proj", "o_proj"], "lora_bias": true })),
        ),
        case(
            "saved",
            "bert-classifier",
            of(json!({ "r": 2, "target_modules": ["query"], "modules_to_save": ["classifier"] })),
        ),
        dora("dora", "llama", json!({ "r": 2, "target_modules": ["o_proj", "up_proj"], "use_dora": true })),
        dora(
            "dora-conv1d",
            "gpt2",
            json!({ "r": 2, "target_modules": ["c_attn"], "use_dora": true, "fan_in_fan_out": true }),
        ),
        dora("dora-conv2d", "unet2d", json!({ "r": 2, "target_modules": [KERNEL], "use_dora": true })),
        dora("dora-embedding", "llama", json!({ "r": 2, "target_modules": ["embed_tokens"], "use_dora": true }))
            .not_derived("lora_embedding", NORM),
    ]
}

fn typed(field: &str, name: &str, mut config: Json) -> Json {
    config[field] = name.into();
    config
}

pub fn cases() -> Vec<Case> {
    let swift = |name: &str, config| typed("swift_type", name, config);
    let peft = |name: &str, config| typed("peft_type", name, config);
    let mut all = Vec::new();

    all.extend(lora(|config| swift("LORA", config)));
    all.push(case(
        "all biases",
        "llama-tied-bias",
        swift("LORA", json!({ "r": 2, "target_modules": ["q_proj"], "bias": "all" })),
    ));
    let blocks = json!({ "r": 2, "target_modules": ["qkv_proj"], "use_merged_linear": true, "enable_lora": [true, false, true, true] });
    all.push(case("merged linear", "phi3", swift("LORA", blocks)).except(Property::Rows, ONE_NAME));

    let extra =
        json!({ "r": 2, "target_modules": ["k_proj", "v_proj"], "model_type": "llama", "group_size_ratio": 0.5 });
    all.push(case("shifted", "llama", swift("longlora", extra)));
    let norms = json!({ "r": 2, "target_modules": ["q_proj"], "embedder_and_normalizer": ".*norm.*" });
    all.push(case("norms", "qwen2", swift("longlora", norms)));

    let tuple = json!({ "dim": 64, "target_modules": ".*self_attn", "hidden_pos": 0, "adapter_length": 4 });
    let chunk = json!({
        "dim": 64, "target_modules": "bert\\.encoder\\.layer\\.\\d+", "method_name": "feed_forward_chunk", "adapter_length": 3,
    });
    all.push(case(
        "mlp",
        "llama",
        swift("ADAPTER", json!({ "dim": 64, "target_modules": ["mlp"], "adapter_length": 5 })),
    ));
    all.push(case("element", "llama", swift("ADAPTER", tuple)));
    all.push(case("method", "bert-classifier", swift("ADAPTER", chunk)));

    let rows = json!({ "dim": 64, "target_modules": "model\\.layers\\.[1-3]", "embedding_pos": 0, "attention_mask_pos": "attention_mask", "prompt_length": 2 });
    let grows = json!({ "dim": 64, "target_modules": "vit\\.layers\\.\\d+", "embedding_pos": 0, "prompt_length": 3 });
    let behind = json!({ "dim": 64, "target_modules": "vit\\.layers\\.\\d+", "embedding_pos": 0, "prompt_length": 2, "attach_front": false });
    let cut = json!({ "dim": 64, "target_modules": "transformer\\.h\\.0", "embedding_pos": 0, "prompt_length": 3, "extract_embedding": true });
    all.push(case("layers", "llama", swift("PROMPT", rows)));
    all.push(case("front", "vit", swift("PROMPT", grows)));
    all.push(case("back", "vit", swift("PROMPT", behind)));
    all.push(case("extract", "gpt2", swift("PROMPT", cut)));

    all.push(case(
        "mlp",
        "llama",
        swift("SIDE", json!({ "dim": 64, "target_modules": ".*\\.[02]\\.mlp", "side_module_name": "mlp" })),
    ));
    let fcn = json!({
        "dim": 5, "target_modules": "", "side_module_name": "fcn4", "source_hidden_pos": "pixel_values", "target_hidden_pos": "logits",
    });
    all.push(case("fcn4", "vit", swift("SIDE", fcn)));

    let res = json!({
        "dims": 64, "root_modules": "model\\.layers\\.0$", "stem_modules": "model\\.layers\\.\\d+$", "target_modules": "model\\.norm",
        "tuner_cfg": "res_adapter",
    });
    let mixed = json!({
        "dims": [64, 64, 32], "root_modules": "mid_block", "stem_modules": ["mid_block", "up_blocks.0", "up_blocks.1"],
        "target_modules": "conv_norm_out", "use_upsample": true, "upsample_out_channels": [64, 32, null],
        "tuner_cfg": {
            "lateral_cfg": { "res_group_adapter": { "head": 8, "scale_factor": 1, "adapter_weight": "gate" } },
            "vertical_cfg": { "res_adapter": { "adapter_length": 6, "adapter_weight": "scalar_0.3" } },
            "aux_cfg": { "upsample": {} },
        },
    });
    all.push(case("adapters", "llama", swift("RESTUNING", res)));
    all.push(case("groups", "unet2d", swift("RESTUNING", mixed)));

    let encoder = json!({
        "dims": [32, 32, 32, 64], "tuner_mode": "encoder", "down_ratio": 0.5,
        "target_modules": ["conv_in", "down_blocks.0.attentions.0", "down_blocks.0.downsamplers", "down_blocks.1.resnets.0"],
    });
    let decoder = json!({
        "dims": [64, 32, 32, 32], "tuner_mode": "decoder", "down_ratio": 0.5,
        "target_modules": ["up_blocks.0.resnets.0", "up_blocks.0.resnets.1", "up_blocks.1.resnets.0", "up_blocks.1.resnets.1"],
    });
    let identity =
        json!({ "dims": 64, "target_modules": "vit\\.layers\\.\\d+", "tuner_mode": "identity", "down_ratio": 0.25 });
    all.push(case("encoder", "unet2d", swift("SCETuning", encoder)));
    all.push(case("decoder", "unet2d", swift("SCETuning", decoder)));
    all.push(case("identity", "vit", swift("SCETuning", identity)));

    // It has no tensors: the gradients are those of the base, through the noise.
    all.push(case("noise", "bert-classifier", swift("neftune", json!({ "noise_alpha": 3.0 }))));

    all.push(case(
        "blocks",
        "llama",
        swift("LLAMAPRO", json!({ "model_type": "llama", "num_new_blocks": 2, "num_groups": 2 })),
    ));

    all.push(case(
        "linear",
        "llama",
        swift("part", json!({ "target_modules": "model\\.layers\\.3\\.mlp\\.(up|down)_proj" })),
    ));
    all.push(case(
        "conv2d",
        "unet2d",
        swift("part", json!({ "target_modules": ".*mid_block.*(attn1.to_k|resnets.0.conv1)" })),
    ));

    for (name, formula, args) in [
        ("loreft", "LoreftIntervention", json!({})),
        ("noreft", "NoreftIntervention", json!({ "add_bias": true })),
        ("consreft", "ConsreftIntervention", json!({})),
        ("lobireft", "LobireftIntervention", json!({})),
        ("direft", "DireftIntervention", json!({ "act_fn": "tanh" })),
        ("nodireft", "NodireftIntervention", json!({ "add_bias": true })),
    ] {
        let config =
            json!({ "model_type": "llama", "layers": [1, 2], "r": 3, "intervention_type": formula, "args": args });
        all.push(case(name, "llama", swift("reft", config)));
    }

    all.extend(lora(|config| peft("LORA", config)));
    let biases = json!({ "r": 2, "target_modules": ["q_proj"], "bias": "all" });
    all.push(case("all biases", "llama-tied-bias", peft("LORA", biases)).except(Property::Rows, ONE_BIAS));

    all.push(case("even", "llama", peft("HRA", json!({ "r": 4, "target_modules": ["q_proj", "down_proj"] }))));
    all.push(case("odd", "llama-tied-bias", peft("HRA", json!({ "r": 3, "target_modules": ["q_proj"] }))));
    all.push(case(
        "gram-schmidt",
        "llama",
        peft("HRA", json!({ "r": 3, "target_modules": ["v_proj"], "apply_GS": true })),
    ));
    all.push(case("conv2d", "unet2d", peft("HRA", json!({ "r": 2, "target_modules": [KERNEL, QUERY] }))));
    let biases = json!({ "r": 2, "target_modules": ["q_proj"], "bias": "hra_only" });
    all.push(case("biases", "llama-tied-bias", peft("HRA", biases)).except(Property::Rows, ONE_BIAS));

    all.push(case("defaults", "llama", peft("IA3", json!({}))));
    let biased = json!({ "target_modules": ["k_proj", "o_proj"], "feedforward_modules": ["o_proj"] });
    all.push(case("biases", "llama-tied-bias", peft("IA3", biased)));
    all.push(case("conv1d", "gpt2", peft("IA3", json!({ "fan_in_fan_out": true }))));
    let convolutions = json!({ "target_modules": [KERNEL, POINT, QUERY], "feedforward_modules": [POINT] });
    all.push(case("conv2d", "unet2d", peft("IA3", convolutions)));
    let saved = json!({ "target_modules": ["key"], "feedforward_modules": [], "modules_to_save": ["classifier"] });
    all.push(case("saved", "bert-classifier", peft("IA3", saved)));

    all.push(case(
        "linear",
        "llama",
        peft("LOHA", json!({ "r": 2, "alpha": 3, "target_modules": ["q_proj", "down_proj"] })),
    ));
    let patterns = json!({
        "r": 4, "target_modules": ["q_proj", "k_proj"], "rank_pattern": { "k_proj": 2 }, "alpha_pattern": { "q_proj": 2 },
    });
    all.push(case("patterns", "llama", peft("LOHA", patterns)));
    all.push(case(
        "dropout",
        "llama",
        peft(
            "LOHA",
            json!({
                "r": 2, "target_modules": ["q_proj", "v_proj"], "rank_dropout": 0.3, "module_dropout": 0.3,
            }),
        ),
    ));
    let kernels = json!({ "r": 2, "target_modules": [KERNEL, POINT] });
    all.push(case("conv2d", "unet2d", peft("LOHA", kernels.clone())));
    all.push(case("cores", "unet2d", peft("LOHA", merged(kernels, json!({ "use_effective_conv2d": true })))));

    all.push(case("linear", "llama", peft("VERA", json!({ "r": 4, "target_modules": ["q_proj", "down_proj"] }))));
    all.push(case(
        "dropout",
        "llama",
        peft("VERA", json!({ "r": 4, "target_modules": ["q_proj"], "vera_dropout": 0.3 })),
    ));
    all.push(case(
        "conv1d",
        "gpt2",
        peft("VERA", json!({ "r": 4, "target_modules": ["c_attn"], "fan_in_fan_out": true })),
    ));
    let unsaved = json!({ "r": 4, "target_modules": ["q_proj"], "save_projection": false, "projection_prng_key": 5 });
    all.push(case("unsaved", "llama", peft("VERA", unsaved)));
    let biases = json!({ "r": 2, "target_modules": ["q_proj"], "bias": "vera_only" });
    all.push(case("biases", "llama-tied-bias", peft("VERA", biases)).except(Property::Rows, ONE_BIAS));

    let spectrum = |fields| merged(json!({ "n_frequency": 40, "target_modules": ["q_proj", "v_proj"] }), fields);
    let fourier = |fields| peft("FOURIERFT", spectrum(fields));
    all.push(case("linear", "llama", fourier(json!({ "n_frequency_pattern": { "v_proj": 7 } }))));
    all.push(case("zero", "llama-tied-bias", fourier(json!({ "init_weights": true, "random_loc_seed": -3 }))));
    all.push(case("conv1d", "gpt2", peft("FOURIERFT", json!({ "n_frequency": 30, "fan_in_fan_out": true }))));
    let biases = fourier(json!({ "bias": "fourier_only" }));
    all.push(case("biases", "llama-tied-bias", biases).except(Property::Rows, ONE_BIAS));

    let wave = |fields| peft("WAVEFT", spectrum(fields));
    all.push(case("haar", "llama", wave(json!({ "n_frequency_pattern": { "v_proj": 7 } }))));
    all.push(case("filters", "llama", wave(json!({ "wavelet_family": "db7", "init_weights": false }))));
    let shared_out = json!({ "wavelet_family": "coif2", "proportional_parameters": true });
    all.push(case(
        "shared out",
        "llama",
        wave(merged(json!({ "target_modules": ["k_proj", "down_proj"] }), shared_out)),
    ));
    all.push(case("entries", "llama-tied-bias", wave(json!({ "use_idwt": false }))));
    all.push(case("conv1d", "gpt2", peft("WAVEFT", json!({ "n_frequency": 30, "wavelet_family": "sym3" }))));

    all.push(case("linear", "llama", peft("SHIRA", json!({ "r": 2, "target_modules": ["k_proj", "down_proj"] }))));
    let random = json!({ "r": 1, "target_modules": ["query"], "random_seed": 9, "init_weights": false });
    all.push(case("random", "bert-classifier", peft("SHIRA", random)));

    let sparse = |fields| {
        peft("SUPERTUNING", merged(json!({ "sparsity": 0.9, "target_modules": ["k_proj", "down_proj"] }), fields))
    };
    all.push(case("top", "llama", sparse(json!({}))));
    all.push(case("bottom", "llama-tied-bias", sparse(json!({ "select_top": false, "init_weights": false }))));
    all.push(case("found again", "llama", sparse(json!({ "save_precomputed_indices": false }))));
    all.push(case("supra", "llama", sparse(json!({ "r": 2, "lora_alpha": 3.0 }))));
    all.push(case("dropout", "llama", sparse(json!({ "r": 2, "lora_dropout": 0.3, "init_weights": false }))));

    let mixed_shapes = json!(["q_proj", "v_proj", "down_proj", "up_proj"]);
    let vera = |fields| merged(json!({ "r": 4, "target_modules": mixed_shapes.clone() }), fields);
    all.push(case("linear", "llama", peft("PVERA", vera(json!({ "d_initial": 0.3 })))));
    all.push(case("dropout", "llama-tied-bias", peft("PVERA", vera(json!({ "pvera_dropout": 0.3 })))));
    let unsaved = json!({ "save_projection": false, "projection_prng_key": 5, "init_weights": false });
    all.push(case("unsaved", "llama", peft("PVERA", vera(unsaved.clone()))));
    all.push(case("conv1d", "gpt2", peft("PVERA", json!({ "r": 3, "target_modules": ["c_attn", "c_proj"] }))));

    let rand = |fields| peft("RANDLORA", merged(json!({ "r": 24, "target_modules": mixed_shapes.clone() }), fields));
    all.push(case("dense", "llama", rand(json!({}))));
    all.push(case("sparse", "llama-tied-bias", rand(json!({ "sparse": true, "randlora_dropout": 0.2 }))));
    all.push(case("very sparse", "llama", rand(merged(unsaved.clone(), json!({ "very_sparse": true })))));
    let conv1d = json!({ "r": 16, "target_modules": ["c_attn", "mlp.c_proj"], "randlora_alpha": 20 });
    all.push(case("conv1d", "gpt2", peft("RANDLORA", conv1d)));

    let bank = |fields| {
        let small = json!({ "r": 2, "num_vectors": 10, "vector_length": 16, "init_vector_bank_bound": 1.0 });
        peft("VBLORA", merged(merged(small, json!({ "target_modules": ["q_proj", "v_proj"] })), fields))
    };
    all.push(case("linear", "llama", bank(json!({}))));
    all.push(case("dropout", "llama-tied-bias", bank(json!({ "topk": 2, "vblora_dropout": 0.3 }))));
    all.push(case("three", "llama", bank(json!({ "topk": 3, "num_vectors": 300 }))));
    all.push(case("conv1d", "gpt2", bank(json!({ "target_modules": ["c_attn"], "fan_in_fan_out": true }))));

    let uni = |fields| {
        peft("UNILORA", merged(json!({ "r": 2, "theta_d_length": 30, "target_modules": mixed_shapes.clone() }), fields))
    };
    all.push(case("found again", "llama", uni(json!({ "proj_seed": 9 }))));
    all.push(case("saved places", "llama-tied-bias", uni(json!({ "save_indices": true, "unilora_dropout": 0.2 }))));
    all.push(case("conv1d", "gpt2", uni(json!({ "target_modules": ["c_attn", "c_proj"], "init_weights": false }))));

    let tiny = |fields| peft("TINYLORA", merged(json!({ "u": 5, "target_modules": mixed_shapes.clone() }), fields));
    all.push(case("linear", "llama", tiny(json!({}))));
    all.push(case("tied", "llama-tied-bias", tiny(json!({ "weight_tying": 0.6, "init_weights": "uniform" }))));
    all.push(case("unsaved", "llama", tiny(json!({ "r": 3, "save_projection": false, "tinylora_dropout": 0.2 }))));
    all.push(case("conv1d", "gpt2", tiny(json!({ "target_modules": ["c_attn"] }))));
    all.push(case("embedding", "llama", tiny(json!({ "target_modules": ["embed_tokens", "k_proj"] }))));

    let frod = |fields| peft("FROD", merged(json!({ "target_modules": mixed_shapes.clone() }), fields));
    all.push(case("linear", "llama", frod(json!({}))));
    all.push(case("dropout", "llama-tied-bias", frod(json!({ "frod_dropout": 0.2, "init_weights": false }))));
    all.push(case("unsaved", "llama", frod(json!({ "save_projection": false, "sparse_rate": 0.1 }))));
    all.push(case("conv1d", "gpt2", frod(json!({ "target_modules": ["c_attn"], "projection_prng_key": 3 }))));

    let lily = |fields| peft("LILY", merged(json!({ "r": 3, "target_modules": mixed_shapes.clone() }), fields));
    all.push(case("linear", "llama", lily(json!({ "scaling": 0.5 }))));
    all.push(case("strides", "llama-tied-bias", lily(json!({ "stride_A": 3, "num_B": 4, "init_weights": false }))));

    all
}

fn merged(mut config: Json, more: Json) -> Json {
    for (field, value) in more.as_object().into_iter().flatten() {
        config[field] = value.clone();
    }
    config
}
