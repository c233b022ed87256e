/** Compiled with the rest, never run: what the types must allow and refuse. */
import {
  AdamW, type AutoModel, type AutoTokenizer, batches, type ChatRow, type Dataset, type Encoded, encodeDataset, type EncodedPair, encodeRow, HRAConfig, IA3Config, loadDataset, LoRAConfig,
  LoraConfig, type Model, type PairRow, type PeftModel, type Row, Swift, type SwiftModel, type Tensor, Trainer,
} from '../index.js'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function assert<T extends true>(value?: T): void

export async function types(auto: typeof AutoModel): Promise<void> {
  const model = await auto.fromPretrained('x', { dtype: 'f32', device: 'cuda:1' })
  assert<Equal<typeof model, Model>>()
  const swift = await Swift.prepareModel(model, { a: new LoRAConfig({ r: 8 }) })
  assert<Equal<typeof swift, SwiftModel>>()
  const one = await Swift.prepareModel(model, new LoRAConfig({ r: 8 }))
  assert<Equal<typeof one, SwiftModel>>()
  const peft = await Swift.prepareModel(model, new LoraConfig({ r: 8 }))
  assert<Equal<typeof peft, PeftModel>>()
  const { logits, loss } = await swift.forward({ inputIds: [[1, 2]], labels: [[1, 2]] })
  assert<Equal<typeof logits, Tensor | undefined>>()
  await loss!.backward()
  // @ts-expect-error a dtype that does not exist
  await auto.fromPretrained('x', { dtype: 'f8' })
  // @ts-expect-error offload goes to cpu or meta
  swift.setActiveAdapters('a', { offload: 'disk' })
  // @ts-expect-error the rank is a number
  const wrong = new LoRAConfig({ r: '8' })
  // @ts-expect-error a misspelt field
  const misspelt = new HRAConfig({ targetModule: ['q_proj'] })
  // @ts-expect-error a field of another class
  const other = new IA3Config({ r: 8 })
  assert<Equal<HRAConfig['applyGS'], boolean>>()
  // @ts-expect-error adapters are read-only
  swift.adapters.set('b', new LoRAConfig({}))
  // @ts-expect-error combination types are named
  await swift.addWeightedAdapter({ adapters: ['a'], weights: [1], adapterName: 'b', combinationType: 'mean' })
  for await (const step of new Trainer({ model: swift, train: [], optimizer: new AdamW(swift.parameters()) }).run()) {
    assert<Equal<typeof step.loss, number>>()
  }
  const { steps, best } = await new Trainer({ model: swift, train: (epoch, seed) => [{ inputIds: [[epoch, seed]] }], optimizer: new AdamW(swift.parameters()) }).run({ maxSteps: 3 })
  assert<Equal<typeof steps, number>>()
  assert<Equal<typeof best, { step: number; metric: string; value: number } | undefined>>()
  // @ts-expect-error a misspelt option
  const odd = new Trainer({ model: swift, train: [], optimizer: new AdamW(swift.parameters()), evaluate_every: 3 })
  // @ts-expect-error a schedule that there is not
  const unknown = new Trainer({ model: swift, train: [], optimizer: new AdamW(swift.parameters()), schedule: { name: 'step' } })
  await odd.evaluate().then(() => unknown.evaluate())
  for await (const ids of model.generate({ inputIds: [[1]] })) assert<Equal<typeof ids, number[]>>()
  for await (const step of model.generateSteps({ inputIds: [[1]] }, { logprobs: 2 })) {
    assert<Equal<typeof step.texts, string[] | undefined>>()
    assert<Equal<typeof step.finishReasons, ('eos' | 'stop' | 'length' | null)[]>>()
  }
  // @ts-expect-error log-probabilities are told by generateSteps
  for await (const _ of model.generate({ inputIds: [[1]] }, { logprobs: 2 })) break
  using scoped = swift
  scoped.eval().setActiveAdapters([...wrong.swiftType, misspelt.peftType, other.peftType])
}

export function data(tokenizer: AutoTokenizer, model: Model): Trainer {
  const rows = loadDataset('rows.jsonl')
  assert<Equal<typeof rows, Dataset<Row>>>()
  const encoded = encodeDataset(tokenizer, rows, { loss: 'last', maxLength: 8 })
  assert<Equal<typeof encoded, Dataset<Encoded>>>()
  const [train, rest] = encoded.split(0.9)
  const source = batches(train.shuffle(), { padTokenId: 0, batchSize: 4, groupByLength: { window: 100 } })
  const trainer = new Trainer({ model, train: source, evaluate: batches(rest, { padTokenId: 0, maxTokens: 4096 }), optimizer: new AdamW([]) })
  const pairs = encodeDataset(tokenizer, loadDataset<PairRow>('pairs.jsonl'))
  assert<Equal<typeof pairs, Dataset<EncodedPair>>>()
  // @ts-expect-error pairs have no labels
  batches(pairs, { padTokenId: 0, batchSize: 4 })
  const one = encodeRow(tokenizer, { text: 'x' })
  assert<Equal<typeof one, Encoded[]>>()
  const turns = loadDataset<ChatRow>('rows.jsonl').map(({ messages }) => messages.length)
  assert<Equal<typeof turns, Dataset<number>>>()
  // @ts-expect-error a format that there is not
  loadDataset('rows.jsonl', { format: 'vicuna' })
  // @ts-expect-error a misspelt option
  encodeDataset(tokenizer, rows, { max_length: 8 })
  return trainer
}
