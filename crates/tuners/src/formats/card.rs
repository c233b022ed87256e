//! The model card beside adapters.

use crate::lifecycle::{Flavor, TunedModel};
use serde_json::Value as Json;

impl TunedModel {
    /// `README.md`: what the adapters are, of which model, and how to load them. A SwiftModel's is SWIFT's.
    pub(super) fn card(&self) -> String {
        match self.flavor {
            Flavor::Peft => self.peft_card(),
            _ => format!(
                "## Training procedure\n\n### Framework versions\n\n\n- swift-tuners {}\n### Base model information\n\n\n- \
                 BaseModel Class {}\n",
                env!("CARGO_PKG_VERSION"),
                self.model.keys.architecture
            ),
        }
    }

    /// With the front matter that PEFT writes, by which the hub knows an adapter and its model.
    fn peft_card(&self) -> String {
        let base = self.model.name.as_deref().filter(|name| is_plain(name));
        let mut front = String::from("---\n");
        if let Some(base) = base {
            front += &format!("base_model: {base}\n");
        }
        front += "library_name: peft\n";
        if let Some(pipeline) = self.pipeline() {
            front += &format!("pipeline_tag: {pipeline}\n");
        }
        front += "tags:\n";
        if let Some(base) = base {
            front += &format!("- base_model:adapter:{base}\n");
        }
        let mut kinds: Vec<String> = self.adapters().values().map(|a| a.config.kind.to_lowercase()).collect();
        kinds.dedup();
        kinds.iter().for_each(|kind| front += &format!("- {kind}\n"));
        front += "---\n";

        let mut table = String::from("| adapter | type | settings |\n| --- | --- | --- |\n");
        for (name, adapter) in self.adapters() {
            let settings = ["r", "lora_alpha", "target_modules", "modules_to_save", "num_virtual_tokens"];
            let given = settings.iter().filter_map(|&s| Some((s, adapter.config.get(s)?)));
            let shown: Vec<String> = given.map(|(s, value)| format!("`{s}`: {}", shown(value))).collect();
            table += &format!("| {name} | {} | {} |\n", adapter.config.kind, shown.join(", "));
        }
        let of = base.unwrap_or(self.model.keys.architecture);
        format!(
            "{front}\n# Adapters of {of}\n\n{table}\n## Use\n\n```python\nfrom peft import PeftModel\n\nmodel = \
             PeftModel.from_pretrained(base_model, \"THIS_FOLDER\")\n```\n\n```ts\nimport {{ PeftModel }} from \
             'swift-tuners'\n\nconst model = await PeftModel.fromPretrained(baseModel, 'THIS_FOLDER')\n```\n\n### Framework \
             versions\n\n- swift-tuners {}\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// The hub's word for the first adapter's task.
    fn pipeline(&self) -> Option<&'static str> {
        let task = self.adapters().values().next()?.config.get("task_type")?.as_str()?;
        Some(match task {
            "CAUSAL_LM" => "text-generation",
            "SEQ_CLS" => "text-classification",
            "TOKEN_CLS" => "token-classification",
            "QUESTION_ANS" => "question-answering",
            "FEATURE_EXTRACTION" => "feature-extraction",
            _ => return None,
        })
    }
}

/// Whether a name can stand in front matter as it is.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "._-/ ".contains(c)) && !name.starts_with(' ')
}

fn shown(value: &Json) -> String {
    match value {
        Json::Array(items) if items.len() > 8 => format!("{} names", items.len()),
        other => other.to_string().replace('|', "\\|"),
    }
}
