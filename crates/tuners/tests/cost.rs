//! What an adapter costs does not depend on how many there are already: counted in allocations, which a machine's load does not
//! change.

mod support;

use candle_core::DType;
use serde_json::{json, Value as Json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::{base, logits, only};
use swift_tuners_nn::module::Ints;
use swift_tuners_nn::{Inputs, Result};
use swift_tuners_tuners::lifecycle::PrepareOptions;
use swift_tuners_tuners::TunedModel;

/// Counts this thread's allocations.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted<T>(f: impl FnOnce() -> Result<T>) -> Result<usize> {
    let before = COUNT.get();
    f()?;
    Ok(COUNT.get() - before)
}

fn attach(model: &mut TunedModel, number: usize, config: &Json) -> Result<()> {
    let name = format!("adapter-{number:04}");
    model.prepare(0, &[(name, config.clone())], &PrepareOptions::default()).map(drop)
}

/// Growing lists reallocate now and then; a walk over all adapters, or over the tree for each of them, is far more.
fn no_more(what: &str, last: usize, first: usize) {
    assert!(last <= first + 40, "{what}: {last} allocations with 500 adapters, {first} with 2");
}

fn costs(config: &Json) -> Result<()> {
    let mut model = base("llama", DType::F32)?;
    let ids = Ints::new(vec![1, 4], vec![5, 9, 2, 77])?;
    let inputs = Inputs { input_ids: Some(ids), ..Default::default() };
    let measure = |model: &mut TunedModel, number: usize| -> Result<[usize; 4]> {
        let attached = counted(|| attach(model, number, config))?;
        let name = format!("adapter-{number:04}");
        let slots = model.slots(&name)?.len();
        let found = counted(|| model.slots(&name))?;
        let id = model.ids(&[name])?[0];
        logits(model, &only(&[id]), &inputs)?; // what is made once
        let pass = counted(|| logits(model, &only(&[id]), &inputs))?;
        Ok([attached, slots, found, pass])
    };
    attach(&mut model, 0, config)?;
    let first = measure(&mut model, 1)?;
    for number in 2..499 {
        attach(&mut model, number, config)?;
    }
    let last = measure(&mut model, 499)?;
    assert_eq!(last[1], first[1], "tensors of an adapter");
    no_more("attaching", last[0], first[0]);
    no_more("finding its tensors", last[2], first[2]);
    no_more("a pass", last[3], first[3]);
    Ok(())
}

#[test]
fn swift_lora_costs_the_same_however_many_there_are() -> Result<()> {
    costs(&json!({ "swift_type": "LORA", "r": 2, "target_modules": ["q_proj", "v_proj"] }))
}

#[test]
fn lora_costs_the_same_however_many_there_are() -> Result<()> {
    costs(&json!({ "peft_type": "LORA", "r": 2, "target_modules": ["q_proj", "v_proj"] }))
}

#[test]
fn hra_costs_the_same_however_many_there_are() -> Result<()> {
    costs(&json!({ "peft_type": "HRA", "r": 2, "target_modules": ["q_proj", "v_proj"] }))
}

#[test]
fn ia3_costs_the_same_however_many_there_are() -> Result<()> {
    costs(&json!({ "peft_type": "IA3" }))
}

#[test]
fn loha_costs_the_same_however_many_there_are() -> Result<()> {
    costs(&json!({ "peft_type": "LOHA", "r": 2, "target_modules": ["q_proj", "v_proj"] }))
}

#[test]
fn vera_costs_the_same_however_many_there_are() -> Result<()> {
    costs(&json!({ "peft_type": "VERA", "r": 2, "target_modules": ["q_proj", "v_proj"] }))
}
