//! Multitask prompt tuning: prompts that all tasks share, times a low-rank matrix of each task's own.
//!
//! Wang et al. 2023 (arXiv 2303.02861); PEFT's `peft.tuners.multitask_prompt_tuning`.

use super::encoder::{EncoderTensor, Held, PromptEncoder};
use super::fields::PromptFields;
use super::place::Place;
use super::prompt_tuning::{check_text, embedding, PromptTuningInit};
use super::size::Size;
use super::PromptLearning;
use crate::fields::Required;
use crate::init::Init;
use serde_json::Value as Json;
use std::path::Path;
use swift_tuners_nn::checkpoint::{safetensors, torch_bin};
use swift_tuners_nn::{Array, Context, Error, Model, Param, Result, Tensor};

crate::words! {
    /// How the prompts start.
    pub enum MultitaskInit {
        Text = "TEXT",
        Random = "RANDOM",
        /// The mean of the source's tasks.
        AverageSourceTasks = "AVERAGE_SOURCE_TASKS",
        /// One of the source's tasks.
        ExactSourceTask = "EXACT_SOURCE_TASK",
        /// What the source's tasks share.
        OnlySourceShared = "ONLY_SOURCE_SHARED",
    }
}

crate::config! {
    /// `MultitaskPromptTuningConfig`
    pub struct MultitaskPromptTuningConfig {
        standard: [];
        ..prompt: PromptFields;
        /// How many virtual tokens stand before the sequence.
        num_virtual_tokens: Required<usize>;
        /// `'RANDOM'`, `'TEXT'`, or from a source's checkpoint: `'AVERAGE_SOURCE_TASKS'`, `'EXACT_SOURCE_TASK'`,
        /// `'ONLY_SOURCE_SHARED'`.
        prompt_tuning_init: MultitaskInit = MultitaskInit::Random;
        /// The text, for `'TEXT'`.
        prompt_tuning_init_text: Option<String> = None;
        /// Whose tokenizer reads the text, for `'TEXT'`.
        tokenizer_name_or_path: Option<String> = None;
        /// For Python's tokenizer.
        tokenizer_kwargs: Option<Json> = None;
        /// The source's checkpoint (safetensors, or PyTorch's).
        prompt_tuning_init_state_dict_path: Option<String> = None;
        /// The source's task, for `'EXACT_SOURCE_TASK'`.
        prompt_tuning_init_task: usize = 0;
        /// Rank of a task's matrix.
        num_ranks: usize = 1, in 1..;
        num_tasks: usize = 1, in 1..;
    }
}

/// The kind of tuner.
pub struct MultitaskPromptTuning;

impl PromptLearning for MultitaskPromptTuning {
    const NAME: &'static str = "MULTITASK_PROMPT_TUNING";
    const CLASS: &'static str = "MultitaskPromptTuningConfig";
    const ABOUT: &'static str = "Prompts that all tasks share, times a low-rank matrix of each task's own; passes take `taskIds`. Wang et al. 2023 (arXiv 2303.02861).";
    const PLACE: Place = Place::Embeddings;
    type Config = MultitaskPromptTuningConfig;

    fn fields(config: &MultitaskPromptTuningConfig) -> &PromptFields {
        &config.prompt
    }

    fn count(config: &MultitaskPromptTuningConfig) -> usize {
        config.num_virtual_tokens.0
    }

    fn check(c: &MultitaskPromptTuningConfig) -> Result<()> {
        use MultitaskInit::{Random, Text};
        let text = c.prompt_tuning_init == Text;
        check_text(
            text,
            c.prompt_tuning_init_text.as_deref(),
            c.tokenizer_name_or_path.as_deref(),
            &c.tokenizer_kwargs,
        )?;
        if !matches!(c.prompt_tuning_init, Text | Random) && c.prompt_tuning_init_state_dict_path.is_none() {
            return Err(Error::config(
                "prompt_tuning_init_state_dict_path",
                "missing: prompt_tuning_init needs a source",
            ));
        }
        Ok(())
    }

    fn encoder(
        c: &MultitaskPromptTuningConfig,
        size: &Size,
        model: &Model,
        init: &mut Init,
    ) -> Result<Box<dyn PromptEncoder>> {
        let start = match c.prompt_tuning_init {
            MultitaskInit::Text => PromptTuningInit::Text,
            _ => PromptTuningInit::Random,
        };
        let embedding = embedding(start, c.prompt_tuning_init_text.as_deref(), size, model, init)?;
        let columns = init.normal(&[c.num_tasks, size.rows(), c.num_ranks], 0.02)?;
        let rows = init.normal(&[c.num_tasks, c.num_ranks, size.width], 0.02)?;
        let both_stacks = size.stacks == 2;
        let prompts = Prompts { columns, rows, embedding, both_stacks };
        prompts.take_source(c)?;
        Ok(Box::new(prompts))
    }
}

/// `prompt ∘ (columns[task] rows[task])`
struct Prompts {
    /// `[tasks, rows, ranks]`
    columns: Param,
    /// `[tasks, ranks, width]`
    rows: Param,
    /// `[rows, width]`
    embedding: Param,
    both_stacks: bool,
}

impl Prompts {
    /// Starts from another checkpoint.
    fn take_source(&self, c: &MultitaskPromptTuningConfig) -> Result<()> {
        use MultitaskInit::{AverageSourceTasks, ExactSourceTask, Random, Text};
        let (Some(path), false) =
            (&c.prompt_tuning_init_state_dict_path, matches!(c.prompt_tuning_init, Text | Random))
        else {
            return Ok(());
        };
        let option = "prompt_tuning_init_state_dict_path";
        let path = Path::new(path);
        let safe = path.extension().is_some_and(|e| e == "safetensors");
        let tensors = if safe { safetensors::read(path)? } else { torch_bin::read(path)? };
        let set = |param: &Param, name: &str, of: &dyn Fn(&Array) -> Result<Array>| {
            let tensor =
                tensors.get(name).ok_or_else(|| Error::config(option, format!("{} has no {name}", path.display())))?;
            param.set(&of(tensor)?).map_err(|e| Error::config(option, format!("{name}: {e}")))
        };
        set(&self.embedding, "prompt_embeddings", &|t| Ok(t.clone()))?;
        let task = c.prompt_tuning_init_task;
        let of_tasks = |t: &Array| match c.prompt_tuning_init {
            AverageSourceTasks => Ok(t.mean_keepdim(0)?),
            _ if task < t.dims().first().copied().unwrap_or(0) => Ok(t.narrow(0, task, 1)?),
            _ => Err(Error::config("prompt_tuning_init_task", format!("{task} is none of the source's tasks"))),
        };
        if matches!(c.prompt_tuning_init, AverageSourceTasks | ExactSourceTask) {
            set(&self.columns, "prefix_task_cols", &of_tasks)?;
            set(&self.rows, "prefix_task_rows", &of_tasks)?;
        }
        Ok(())
    }
}

impl PromptEncoder for Prompts {
    fn tensors(&self) -> Vec<EncoderTensor<'_>> {
        let saved = |name: &str, key, param| EncoderTensor::new(name, Held::Saved(key), param);
        vec![
            saved("prefix_task_cols", "prefix_task_cols", &self.columns),
            saved("prefix_task_rows", "prefix_task_rows", &self.rows),
            saved("embedding.weight", "prompt_embeddings", &self.embedding),
        ]
    }

    fn tokens(&self, cx: &Context) -> Result<Tensor> {
        let Some(tasks) = cx.input("task_ids") else {
            return Err(Error::Argument("taskIds: missing; multitask prompts need the task of each row".into()));
        };
        let count = self.columns.shape()[0] as i64;
        if let Some(task) = tasks.data.iter().find(|&&t| t < 0 || t >= count) {
            return Err(Error::Argument(format!("taskIds: {task} is none of the {count} tasks")));
        }
        let ids: Vec<u32> = tasks.data.iter().map(|&t| t as u32).collect();
        let index = Array::from_vec(ids, tasks.data.len(), &self.columns.device())?;
        let of_rows = |p: &Param| p.value(cx.grad)?.index_select(&index, 0);
        let matrix = of_rows(&self.columns)?.matmul(&of_rows(&self.rows)?)?; // [batch, rows, width]
        matrix.mul(&self.embedding.value(cx.grad)?)
    }

    fn also_decoder(&self) -> bool {
        self.both_stacks
    }
}
