import { native } from './errors.js'
import type { Model } from './model.js'

/** Runs a function while the model answers as it does outside of training: without dropout and noise. Gradients are as ever. */
export async function answeringMode<T>(model: Model, body: () => Promise<T>): Promise<T> {
  const training = native(() => model.native.training)
  native(() => model.native.train(false))
  try {
    return await body()
  } finally {
    native(() => model.native.train(training))
  }
}
