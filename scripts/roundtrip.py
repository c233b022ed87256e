"""Loads what swift-tuners wrote into Python's PEFT or SWIFT and compares logits; called by python-roundtrip.mjs."""
import json
import sys
import warnings

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForSequenceClassification, logging

warnings.filterwarnings('ignore')
logging.set_verbosity_error()
logging.disable_progress_bar()



def load_base(folder):
    kind = json.load(open(f'{folder}/config.json')).get('architectures', ['UNet'])[0]
    if kind == 'UNet':
        from diffusers import UNet2DConditionModel
        return UNet2DConditionModel.from_pretrained(folder).eval()
    auto = {
        'ViTForImageClassification': AutoModelForImageClassification,
        'BertForSequenceClassification': AutoModelForSequenceClassification,
        'RobertaForSequenceClassification': AutoModelForSequenceClassification,
    }.get(kind, AutoModelForCausalLM)
    return auto.from_pretrained(folder, dtype=torch.float32).eval()


failed = skipped = 0
plan = json.load(open(sys.argv[1]))
for case in plan:
    try:
        base = load_base(case['base'])
    except ModuleNotFoundError as error:
        skipped += 1
        print(f"skipped: {case['name']} ({error})")
        continue
    inputs = load_file(case['expected'])
    expected = inputs.pop('expected')
    try:
        if case['kind'] == 'swift':
            from swift.tuners import Swift
            model = Swift.from_pretrained(base, case['dir'])
        else:
            model = PeftModel.from_pretrained(base, case['dir'])
        with torch.no_grad():
            found = model.eval()(**inputs)
        found = found.sample if hasattr(found, 'sample') else found.logits
        gap = float((found - expected).abs().max())
    except Exception as error:  # noqa: BLE001
        gap = float('inf')
        print(repr(error)[:300])
    ok = gap < 2e-4
    failed += not ok
    print(f"{'ok' if ok else 'FAILED'}  {case['name']}: logits differ by {gap:.1e}", flush=True)
print(f'{len(plan) - failed - skipped} passed, {failed} failed, {skipped} skipped')
sys.exit(1 if failed else 0)
