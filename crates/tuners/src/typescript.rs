//! The configuration classes of the TypeScript surface, written from the declarations.

use crate::config::Dialect;
use crate::fields::Declared;
use crate::method::Method;
use crate::registry::METHODS;
use std::fmt::Write;

/// `lora_alpha` → `loraAlpha`, `apply_GS` → `applyGS`
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut up = false;
    for c in name.chars() {
        match c {
            '_' => up = true,
            c if up => {
                out.extend(c.to_uppercase());
                up = false;
            }
            c => out.push(c),
        }
    }
    out
}

/// `loraAlpha` → `lora_alpha`, as the surface does it where no name is listed.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The fields that a user gives: not the one that tells the kind, and none that is refused.
fn given(method: &Method) -> Vec<Declared> {
    let hidden = ["swift_type", "peft_type", "auto_mapping", "peft_version", "megatron_core"];
    let mut fields = (method.fields)();
    fields.retain(|f| !f.typescript.is_empty() && !hidden.contains(&f.name));
    // SWIFT gives all its classes a table that few of them read.
    fields.retain(|f| f.name != "model_key_mapping" || f.typescript != "unknown | null");
    fields
}

fn class(method: &Method, out: &mut String) {
    let fields = given(method);
    let base = if method.dialect == Dialect::Swift { "SwiftConfig" } else { "PeftConfig" };
    let kind = if method.dialect == Dialect::Swift { "swift_type" } else { "peft_type" };
    let name = method.class;
    let stem = name.trim_end_matches("Config");
    let optional = fields.iter().all(|f| !f.required);
    let mut push = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    push(format!("/** {} */", method.about));
    push(format!("export interface {stem}Fields {{"));
    for f in &fields {
        let mut doc = f.doc.clone();
        if !f.default.is_null() && f.default != serde_json::json!({}) {
            let _ = write!(
                doc,
                "{}Default {}.",
                if doc.is_empty() { "" } else { " " },
                f.default.to_string().replace('"', "'")
            );
        }
        if !doc.is_empty() {
            push(format!("  /** {doc} */"));
        }
        push(format!("  {}{}: {}", camel(f.name), if f.required { "" } else { "?" }, f.typescript));
    }
    push("}".into());
    push(format!("/** {} */", method.about));
    push(format!("export class {name} extends {base} {{"));
    for f in &fields {
        push(format!("  declare readonly {}: {}", camel(f.name), f.typescript));
    }
    push(String::new());
    let default = if optional { " = {}" } else { "" };
    push(format!("  constructor(fields: {stem}Fields{default}, raw?: symbol) {{"));
    push(format!("    super(complete(fields, {{ {kind}: '{}' }}, raw))", method.name));
    push("  }".into());
    push("}".into());
    push(String::new());
}

/// The whole file.
pub fn typescript() -> String {
    let mut out = String::from(
        "// Written by `npm run configs` from the declarations in crates/tuners; not to be edited.\n\
         import { complete, type ModelKeyMapping, PeftConfig, register, type ResTunerBlock, SwiftConfig } from './configs.js'\n\n",
    );
    for method in METHODS {
        class(method, &mut out);
    }
    let mut names: Vec<&'static str> =
        METHODS.iter().flat_map(|m| (m.fields)()).map(|f| f.name).filter(|n| snake(&camel(n)) != *n).collect();
    names.sort_unstable();
    names.dedup();
    let listed: Vec<String> = names.iter().map(|n| format!("{}: '{n}'", camel(n))).collect();
    out.push_str("register({\n");
    for (dialect, key) in [(Dialect::Swift, "swift"), (Dialect::Peft, "peft")] {
        let classes = METHODS.iter().filter(|m| m.dialect == dialect);
        let lines: Vec<String> =
            classes.map(|m| format!("    {}: {},\n", m.name.to_ascii_uppercase(), m.class)).collect();
        let _ = write!(out, "  {key}: {{\n{}  }},\n", lines.concat());
    }
    let _ = write!(out, "  names: {{ {} }},\n}})\n", listed.join(", "));
    out
}

#[cfg(test)]
mod tests {
    /// `UPDATE=1` writes the file (`npm run configs`).
    #[test]
    fn the_classes_of_the_typescript_surface_are_those_that_are_declared() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/tuners.ts");
        let wanted = super::typescript();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == wanted, "src/tuners.ts is not what the declarations say: npm run configs");
    }

    #[test]
    fn names_go_there_and_back() {
        assert_eq!(super::camel("apply_GS"), "applyGS");
        assert_eq!(super::camel("use_effective_conv2d"), "useEffectiveConv2d");
        assert_eq!(super::snake("loraAlpha"), "lora_alpha");
    }
}
