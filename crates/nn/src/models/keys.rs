//! Where things sit per `model_type`: the one place where tuners learn about architectures.

use super::config::Config;
use crate::error::printable;
use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskType {
    CausalLm,
    Encoder,
    SequenceClassification,
    TokenClassification,
    QuestionAnswering,
    ImageClassification,
    Seq2Seq,
    Diffusion,
    /// A network of one's own modules.
    Custom,
}

/// What an architecture calls its parts.
#[derive(Debug)]
pub struct Keys {
    pub model_type: &'static str,
    pub architecture: &'static str,
    pub task: TaskType,
    /// The list of blocks.
    pub blocks: &'static str,
    /// The input embedding.
    pub input_embedding: &'static str,
    /// The output projection that `all-linear` leaves out.
    pub output_embedding: Option<&'static str>,
    /// PEFT's default `target_modules`.
    pub lora_targets: &'static [&'static str],
    /// Pairs (name in files, name in the running model): transformers 5 renames while it loads and saves.
    pub renames: &'static [(&'static str, &'static str)],
}

const QV: &[&str] = &["q_proj", "v_proj"];
const BERT: &[&str] = &["query", "value"];

const fn decoder(model_type: &'static str, architecture: &'static str, lora_targets: &'static [&'static str]) -> Keys {
    Keys {
        model_type,
        architecture,
        task: TaskType::CausalLm,
        blocks: "model.layers",
        input_embedding: "model.embed_tokens",
        output_embedding: Some("lm_head"),
        lora_targets,
        renames: &[],
    }
}

const fn encoder(
    model_type: &'static str,
    architecture: &'static str,
    task: TaskType,
    blocks: &'static str,
    input_embedding: &'static str,
) -> Keys {
    Keys {
        model_type,
        architecture,
        task,
        blocks,
        input_embedding,
        output_embedding: None,
        lora_targets: BERT,
        renames: &[],
    }
}

/// A decoder's body under this name, with another head or with none.
const fn bodied(
    model_type: &'static str,
    architecture: &'static str,
    task: TaskType,
    [blocks, input_embedding]: [&'static str; 2],
    lora_targets: &'static [&'static str],
) -> Keys {
    Keys { task, blocks, input_embedding, output_embedding: None, ..decoder(model_type, architecture, lora_targets) }
}

const BARE: [&str; 2] = ["layers", "embed_tokens"];
const IN_MODEL: [&str; 2] = ["model.layers", "model.embed_tokens"];
/// What transformers keeps from before classes were shared.
const IN_TRANSFORMER: [&str; 2] = ["transformer.layers", "transformer.embed_tokens"];
const GPT2: [&str; 2] = ["transformer.h", "transformer.wte"];
const FUSED: &[&str] = &["qkv_proj"];
const C_ATTN: &[&str] = &["c_attn"];

/// The older file names of LayerNorm's parameters.
const GAMMA_BETA: &[(&str, &str)] =
    &[(".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias")];

static TABLE: &[Keys] = &[
    decoder("llama", "LlamaForCausalLM", QV),
    decoder("mistral", "MistralForCausalLM", QV),
    decoder("qwen2", "Qwen2ForCausalLM", QV),
    decoder("qwen3", "Qwen3ForCausalLM", QV),
    decoder("qwen3_moe", "Qwen3MoeForCausalLM", QV),
    decoder("gemma3_text", "Gemma3ForCausalLM", QV),
    decoder("phi3", "Phi3ForCausalLM", FUSED),
    Keys {
        task: TaskType::Seq2Seq,
        blocks: "encoder.block",
        input_embedding: "shared",
        ..decoder("t5", "T5ForConditionalGeneration", &["q", "v"])
    },
    Keys {
        task: TaskType::Diffusion,
        blocks: "down_blocks",
        input_embedding: "conv_in",
        output_embedding: None,
        ..decoder("unet2d", "UNet2DConditionModel", &["to_q", "to_v"])
    },
    Keys {
        task: TaskType::Custom,
        blocks: "",
        input_embedding: "",
        output_embedding: None,
        ..decoder("custom", "CustomModel", &[])
    },
    Keys { blocks: "transformer.h", input_embedding: "transformer.wte", ..decoder("gpt2", "GPT2LMHeadModel", C_ATTN) },
    Keys {
        renames: GAMMA_BETA,
        ..encoder("bert", "BertModel", TaskType::Encoder, "encoder.layer", "embeddings.word_embeddings")
    },
    Keys {
        renames: GAMMA_BETA,
        ..encoder(
            "bert",
            "BertForSequenceClassification",
            TaskType::SequenceClassification,
            "bert.encoder.layer",
            "bert.embeddings.word_embeddings",
        )
    },
    encoder("roberta", "RobertaModel", TaskType::Encoder, "encoder.layer", "embeddings.word_embeddings"),
    encoder(
        "roberta",
        "RobertaForSequenceClassification",
        TaskType::SequenceClassification,
        "roberta.encoder.layer",
        "roberta.embeddings.word_embeddings",
    ),
    bodied("llama", "LlamaModel", TaskType::Encoder, BARE, QV),
    bodied("llama", "LlamaForSequenceClassification", TaskType::SequenceClassification, IN_MODEL, QV),
    bodied("llama", "LlamaForTokenClassification", TaskType::TokenClassification, IN_MODEL, QV),
    bodied("llama", "LlamaForQuestionAnswering", TaskType::QuestionAnswering, IN_TRANSFORMER, QV),
    bodied("mistral", "MistralModel", TaskType::Encoder, BARE, QV),
    bodied("mistral", "MistralForSequenceClassification", TaskType::SequenceClassification, IN_MODEL, QV),
    bodied("mistral", "MistralForTokenClassification", TaskType::TokenClassification, IN_MODEL, QV),
    bodied("mistral", "MistralForQuestionAnswering", TaskType::QuestionAnswering, IN_MODEL, QV),
    bodied("qwen2", "Qwen2Model", TaskType::Encoder, BARE, QV),
    bodied("qwen2", "Qwen2ForSequenceClassification", TaskType::SequenceClassification, IN_MODEL, QV),
    bodied("qwen2", "Qwen2ForTokenClassification", TaskType::TokenClassification, IN_MODEL, QV),
    bodied("qwen2", "Qwen2ForQuestionAnswering", TaskType::QuestionAnswering, IN_TRANSFORMER, QV),
    bodied("qwen3", "Qwen3Model", TaskType::Encoder, BARE, QV),
    bodied("qwen3", "Qwen3ForSequenceClassification", TaskType::SequenceClassification, IN_MODEL, QV),
    bodied("qwen3", "Qwen3ForTokenClassification", TaskType::TokenClassification, IN_MODEL, QV),
    bodied("qwen3", "Qwen3ForQuestionAnswering", TaskType::QuestionAnswering, IN_TRANSFORMER, QV),
    bodied("qwen3_moe", "Qwen3MoeModel", TaskType::Encoder, BARE, QV),
    bodied("qwen3_moe", "Qwen3MoeForSequenceClassification", TaskType::SequenceClassification, IN_MODEL, QV),
    bodied("qwen3_moe", "Qwen3MoeForTokenClassification", TaskType::TokenClassification, IN_MODEL, QV),
    bodied("qwen3_moe", "Qwen3MoeForQuestionAnswering", TaskType::QuestionAnswering, IN_TRANSFORMER, QV),
    bodied("gemma3_text", "Gemma3TextModel", TaskType::Encoder, BARE, QV),
    bodied("gemma3_text", "Gemma3TextForSequenceClassification", TaskType::SequenceClassification, IN_MODEL, QV),
    bodied("phi3", "Phi3Model", TaskType::Encoder, BARE, FUSED),
    bodied("phi3", "Phi3ForSequenceClassification", TaskType::SequenceClassification, IN_MODEL, FUSED),
    bodied("phi3", "Phi3ForTokenClassification", TaskType::TokenClassification, IN_MODEL, FUSED),
    bodied("gpt2", "GPT2Model", TaskType::Encoder, ["h", "wte"], C_ATTN),
    bodied("gpt2", "GPT2ForSequenceClassification", TaskType::SequenceClassification, GPT2, C_ATTN),
    bodied("gpt2", "GPT2ForTokenClassification", TaskType::TokenClassification, GPT2, C_ATTN),
    bodied("gpt2", "GPT2ForQuestionAnswering", TaskType::QuestionAnswering, GPT2, C_ATTN),
    Keys {
        renames: GAMMA_BETA,
        ..encoder(
            "bert",
            "BertForTokenClassification",
            TaskType::TokenClassification,
            "bert.encoder.layer",
            "bert.embeddings.word_embeddings",
        )
    },
    Keys {
        renames: GAMMA_BETA,
        ..encoder(
            "bert",
            "BertForQuestionAnswering",
            TaskType::QuestionAnswering,
            "bert.encoder.layer",
            "bert.embeddings.word_embeddings",
        )
    },
    encoder(
        "roberta",
        "RobertaForTokenClassification",
        TaskType::TokenClassification,
        "roberta.encoder.layer",
        "roberta.embeddings.word_embeddings",
    ),
    encoder(
        "roberta",
        "RobertaForQuestionAnswering",
        TaskType::QuestionAnswering,
        "roberta.encoder.layer",
        "roberta.embeddings.word_embeddings",
    ),
    Keys {
        lora_targets: QV,
        renames: &[
            ("vit.encoder.layer.", "vit.layers."),
            (".attention.attention.query.", ".attention.q_proj."),
            (".attention.attention.key.", ".attention.k_proj."),
            (".attention.attention.value.", ".attention.v_proj."),
            (".attention.output.dense.", ".attention.o_proj."),
            (".intermediate.dense.", ".mlp.fc1."),
            (".output.dense.", ".mlp.fc2."),
        ],
        ..encoder(
            "vit",
            "ViTForImageClassification",
            TaskType::ImageClassification,
            "vit.layers",
            "vit.embeddings.patch_embeddings",
        )
    },
];

impl Keys {
    pub(super) fn of(c: &Config) -> Result<&'static Self> {
        let model_type = match (c.text("model_type")?, c.text("_class_name")?) {
            // diffusers names the class alone.
            (None, Some("UNet2DConditionModel")) => "unet2d",
            (kind, _) => kind.unwrap_or(""),
        };
        let known: Vec<&Keys> = TABLE.iter().filter(|k| k.model_type == model_type).collect();
        let Some(first) = known.first() else {
            let mut types: Vec<&str> = TABLE.iter().map(|k| k.model_type).collect();
            types.dedup();
            return Err(Error::UnsupportedModel(format!(
                "model_type {:?}; supported are {}",
                printable(model_type, 60),
                types.join(", ")
            )));
        };
        match c.architecture() {
            None => Ok(first),
            Some(name) => known.iter().find(|k| k.architecture == name).copied().ok_or_else(|| {
                let names: Vec<&str> = known.iter().map(|k| k.architecture).collect();
                Error::UnsupportedModel(format!(
                    "architecture {:?}; for {model_type} supported are {}",
                    printable(name, 80),
                    names.join(", ")
                ))
            }),
        }
    }

    /// The entry of a whole config.json.
    pub(crate) fn for_config(config: &serde_json::Value) -> Result<&'static Self> {
        Self::of(&Config::new(config)?)
    }

    /// A name from a file as the running model calls it.
    pub fn from_file(&self, name: &str) -> String {
        // Order matters: `.attention.output.dense.` must be tried before `.output.dense.`.
        self.renames.iter().fold(name.to_owned(), |n, (file, model)| n.replace(file, model))
    }

    /// A name of the running model as files have it.
    pub fn to_file(&self, name: &str) -> String {
        let renames = self.renames.iter().filter(|(file, _)| !file.contains("gamma") && !file.contains("beta"));
        renames.fold(name.to_owned(), |n, (file, model)| n.replace(model, file))
    }

    /// Blocks, attention output and MLP output by SWIFT's name of an architecture (`MODEL_ARCH_MAPPING`), for those that a
    /// model here can have; `{}` stands for the block's number.
    pub fn swift_architecture(name: &str) -> Option<(&'static str, &'static str, &'static str)> {
        match name {
            "llama" | "phi3" | "yuan" | "deepseek_v2" => {
                Some(("model.layers", "model.layers.{}.self_attn.o_proj", "model.layers.{}.mlp.down_proj"))
            }
            "qwen" => Some(("transformer.h", "transformer.h.{}.attn.c_proj", "transformer.h.{}.mlp.c_proj")),
            "telechat" => {
                Some(("transformer.h", "transformer.h.{}.self_attention.dense", "transformer.h.{}.mlp.down_proj"))
            }
            "internlm2" => Some(("model.layers", "model.layers.{}.attention.wo", "model.layers.{}.feed_forward.w2")),
            "phi2" => Some(("model.layers", "model.layers.{}.self_attn.dense", "model.layers.{}.mlp.fc2")),
            "codefuse" => {
                Some(("gpt_neox.layers", "gpt_neox.layers.{}.attention.dense", "gpt_neox.layers.{}.mlp.dense_4h_to_h"))
            }
            "chatglm" => Some((
                "transformer.encoder.layers",
                "transformer.encoder.layers.{}.self_attention.dense",
                "transformer.encoder.layers.{}.mlp.dense_4h_to_h",
            )),
            _ => None,
        }
    }

    /// PEFT's names of heads, which it trains by itself for `SEQ_CLS`, `TOKEN_CLS` and `QUESTION_ANS`.
    pub fn head_names(&self) -> &'static [&'static str] {
        match self.task {
            TaskType::SequenceClassification | TaskType::TokenClassification => &["classifier", "score"],
            TaskType::QuestionAnswering => &["qa_outputs"],
            _ => &[],
        }
    }

    /// What the body is called in a model with a head: nothing where it is the whole model.
    pub(super) fn body(&self) -> &'static str {
        let mut parts = self.blocks.split('.');
        let first = parts.next().unwrap_or("");
        if parts.next().is_some() {
            first
        } else {
            ""
        }
    }
}
