"""The same figures with PEFT and PyTorch, in a process of its own: python peft_side.py FIGURE DIRECTORY THREADS"""
import json
import os
import sys
import tempfile
import time

name, directory, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
FIGURES = {f['name']: f for f in json.load(open(os.path.join(directory, 'figures.json')))}
os.environ['OMP_NUM_THREADS'] = str(threads)

import torch  # noqa: E402

torch.set_num_threads(threads)
if name == 'gemm peak':
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    times = []
    for _ in range(12):
        started = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - started)
    print(json.dumps({'values': [2 * 2048**3 / min(times)]}))
    sys.exit()

from transformers import AutoModel, AutoModelForCausalLM, logging  # noqa: E402

logging.set_verbosity_error()
logging.disable_progress_bar()
figure = FIGURES[name]
path = os.path.join(directory, figure['model'])
adapter = os.path.join(directory, figure['model'] + '-adapter')
auto = AutoModel if figure['model'] == 'MiniLM' else AutoModelForCausalLM


def load(**options):
    return auto.from_pretrained(path, **{'dtype': torch.float32, 'attn_implementation': 'sdpa', **options}).eval()


def nf4():
    from transformers import BitsAndBytesConfig
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_compute_dtype=torch.float32)
    return {'quantization_config': config, 'device_map': 'cpu'}


def ids(rows, tokens, vocab=4096):
    return torch.tensor([[(i * 7919 + j * 104729) % (vocab - 8) + 4 for j in range(tokens)] for i in range(rows)])


def lora(targets, **more):
    from peft import LoraConfig
    return LoraConfig(r=8, lora_alpha=16, target_modules=targets, init_lora_weights=False, **more)


QV, ALL, BERT = ['q_proj', 'v_proj'], ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'], ['query', 'value']
SHAPE = {'S': (12, 64), 'M': (4, 256), 'MiniLM': (16, 64), 'large': (1, 64)}[figure['model']]


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def repeat(work, warm=2):
    for _ in range(warm):
        work()
    return [seconds(work) for _ in range(figure['repeats'])]


def step(config, **options):
    from peft import get_peft_model
    model = get_peft_model(load(**options), config).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    x = ids(*SHAPE)
    tasks = {'task_ids': torch.tensor([0, 1, 0, 1])} if hasattr(config, 'n_tasks') or hasattr(config, 'num_tasks') else {}

    def once():
        optimizer.zero_grad()
        if figure['model'] == 'MiniLM':
            loss = model(input_ids=x).last_hidden_state.square().mean()
        else:
            loss = model(input_ids=x, labels=x, **tasks).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return once


def forward(**options):
    model, x = load(**options), ids(*SHAPE)
    with torch.inference_mode():
        return repeat(lambda: model(input_ids=x))


def rows(names):
    from peft import get_peft_model
    model = get_peft_model(load(), lora(ALL), adapter_name='a')
    for name in 'bcd':
        model.add_adapter(name, lora(ALL))
    model.eval()
    x = ids(*SHAPE)
    with torch.inference_mode():
        return repeat(lambda: model(input_ids=x, adapter_names=names))


def tiny(layers):
    model, x = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(layers)]), torch.zeros(1, 8)
    with torch.inference_mode():
        return repeat(lambda: model(x), 100)


def generate(rows, **options):
    model, x = load(**options), ids(rows, 16)
    with torch.inference_mode():
        return repeat(lambda: model.generate(
            input_ids=x, attention_mask=torch.ones_like(x), do_sample=False, max_new_tokens=48, min_new_tokens=48, pad_token_id=0), 1)


def start():
    with torch.inference_mode():
        return [seconds(lambda: load()(input_ids=ids(1, 16)))]


def load_adapters():
    from peft import PeftModel
    values = []
    for _ in range(figure['repeats']):
        model = PeftModel.from_pretrained(load(), adapter)
        values.append(seconds(lambda: [model.load_adapter(adapter, f'a{j}') for j in range(20)]))
    return values


def switch():
    from peft import get_peft_model
    model = get_peft_model(load(), lora(ALL))
    model.add_adapter('b', lora(ALL))
    turn = iter(range(1000))
    return repeat(lambda: model.set_adapter('b' if next(turn) % 2 else 'default'))


def merge():
    from peft import get_peft_model
    model = get_peft_model(load(), lora(ALL))

    def once():
        model.merge_adapter()
        model.unmerge_adapter()

    return repeat(once)


def merge_on_disk():
    from peft import PeftModel

    def once():
        with tempfile.TemporaryDirectory() as out:
            PeftModel.from_pretrained(load(), adapter).merge_and_unload().save_pretrained(out, max_shard_size='200MB')

    return repeat(once, 0)


def peak(work):
    work()
    with open('/proc/self/status') as f:
        return [int(next(line for line in f if line.startswith('VmHWM')).split()[1]) / 1024]


def one_of_types():
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'types.json')) as f:
        fields = json.load(f)[name.removeprefix('type ')]
    return repeat(step(PEFT_TYPE_TO_CONFIG_MAPPING[name.removeprefix('type ')](**fields)))


WORK = {
    'start to first forward': start,
    'load base': lambda: repeat(load),
    'load 20 adapters': load_adapters,
    'forward S': forward, 'forward M': forward, 'forward MiniLM': forward,
    'step S, q and v': lambda: repeat(step(lora(QV))),
    'step S, all linear': lambda: repeat(step(lora(ALL))),
    'step M, q and v': lambda: repeat(step(lora(QV))),
    'step M, all linear': lambda: repeat(step(lora(ALL))),
    'step M, DoRA q and v': lambda: repeat(step(lora(QV, use_dora=True))),
    'step M, all linear, NF4': lambda: repeat(step(lora(ALL), **nf4())),
    'forward M, bf16': lambda: forward(dtype=torch.bfloat16),
    'generate 48 tokens, bf16': lambda: generate(1, dtype=torch.bfloat16),
    'generate 48 tokens, NF4': lambda: generate(1, **nf4()),
    'step MiniLM, q and v': lambda: repeat(step(lora(BERT))),
    'generate 48 tokens, batch 1': lambda: generate(1),
    'generate 48 tokens, batch 8': lambda: generate(8),
    'forward M, one adapter': lambda: rows(['a'] * 4),
    'forward M, four adapters': lambda: rows(['a', 'b', 'c', 'd']),
    'call of a linear layer': lambda: tiny(1),
    'layers of a call, 100': lambda: tiny(100),
    'switch adapters': switch,
    'merge and unmerge': merge,
    'merge on disk, 200 M': merge_on_disk,
    'peak memory: step M, all linear': lambda: peak(lambda: repeat(step(lora(ALL)))),
    'peak memory: step 200 M, NF4': lambda: peak(lambda: repeat(step(lora(ALL), **nf4()))),
    'peak memory: merge on disk': lambda: peak(merge_on_disk),
}
print(json.dumps({'values': one_of_types() if name.startswith('type ') else WORK[name]()}))
