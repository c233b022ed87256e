"""Python's side of data.ts: a JSON Lines file to token ids with `datasets` and transformers' fast tokenizer, as TRL tokenises chats."""
import resource
import sys
import time

from datasets import load_dataset
from transformers import AutoTokenizer

file, model = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(model)
start = time.time()
rows = load_dataset("json", data_files=file, split="train")
loaded = time.time()


def encode(row):
    return {"input_ids": tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=False)}


encoded = rows.map(encode, remove_columns=rows.column_names)
end = time.time()
count = len(encoded)
print(f"datasets: {count} rows in {end - start:.1f} s ({loaded - start:.1f} of them to read): {count / (end - start):.0f} rows/s; "
      f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
