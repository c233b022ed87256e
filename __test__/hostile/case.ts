/** A case of the corpus: a folder of files, a call on it, and what has to come of it. */
import type { Files } from './contents.js'

export type Call = 'load_adapter' | 'save_adapter' | 'load_model' | 'load_tokenizer' | 'load_dataset' | 'convert_to_peft'

export type Outcome = 'ok' | 'warning' | 'error'

export interface Expectation {
  what: Call
  /** Paths are relative to the case's folder; the valid base is `../_base`. */
  args: Record<string, unknown>
  /** `any`: no crash, and whatever else is said here. */
  outcome: Outcome | 'any'
  /** What kind of error, see `judge.ts`; empty: any. */
  kind: string
  /** Parts of the error's text or of the warnings, in any case. */
  mention: string[]
  /** One line for people. */
  why: string
  /** Exactly these carry the adapter. */
  modules?: string[]
  mustNotContain?: string[]
  mustNotExist?: string[]
  mustKeepBytes?: Record<string, string>
  /** Fields of the saved configuration. */
  mustKeep?: Record<string, unknown>
  mustNotPollute?: boolean
  mustLeaveBase?: boolean
  /** Root may read and write everything: the call is made as somebody else. */
  skipIfRoot?: boolean
}

export interface Case extends Expectation {
  name: string
  files: Files
}

/** What a family says of a case beside its name, its files and its reason. */
export type Expected = Partial<Omit<Expectation, 'why'>>
