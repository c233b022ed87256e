"""Loads what swift-tuners wrote into Python's PEFT or SWIFT and compares logits; called by python-roundtrip.mjs."""
import json
import sys
import warnings

import torch
from peft import PeftModel
from safetensors.torch import load_file
from swift.tuners import Swift
from transformers import AutoModelForCausalLM, logging

warnings.filterwarnings('ignore')
logging.set_verbosity_error()
logging.disable_progress_bar()

failed = 0
plan = json.load(open(sys.argv[1]))
for case in plan:
    base = AutoModelForCausalLM.from_pretrained(case['base'], dtype=torch.float32).eval()
    expected = load_file(case['expected'])
    try:
        if case['kind'] == 'swift':
            model = Swift.from_pretrained(base, case['dir'])
        else:
            model = PeftModel.from_pretrained(base, case['dir'])
        with torch.no_grad():
            logits = model.eval()(input_ids=expected['ids']).logits
        gap = float((logits - expected['logits']).abs().max())
    except Exception as error:  # noqa: BLE001
        gap = float('inf')
        print(repr(error)[:300])
    ok = gap < 2e-4
    failed += not ok
    print(f"{'ok' if ok else 'FAILED'}  {case['name']}: logits differ by {gap:.1e}", flush=True)
print(f'{len(plan) - failed} passed, {failed} failed')
sys.exit(1 if failed else 0)
