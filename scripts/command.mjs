/**
 * `docs/command.md`, the reference of the command, from its tables of options: `node scripts/command.mjs` writes it, and with
 * `--check` fails when it is not what the tables say.
 */
import { createRequire } from 'node:module'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './setup.mjs'

const require = createRequire(import.meta.url)
const { COMMANDS } = require(join(root, 'dist/src/command/commands.js'))
const { defaultText } = require(join(root, 'dist/src/command/help.js'))

const file = join(root, 'docs/command.md')
const cell = text => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
const code = text => (text === '' ? '' : `\`${cell(text)}\``)

/** What ms-swift calls it: the same, another name, or nothing. */
const elsewhere = ({ msSwift }) => (msSwift === undefined ? '' : msSwift === null ? 'new here' : `\`--${msSwift}\` there`)

const row = ([name, option]) => {
  const note = elsewhere(option)
  return `| \`--${name}\` | ${code(option.argument.flag ? '' : option.argument.label)} | ${code(defaultText(option.default))} | ${cell(option.help)}${note ? ` (${note})` : ''} |`
}

const section = ([name, { summary, example, options, positional }]) => `## ${name}

${summary}

\`\`\`sh
npx ${example}
\`\`\`
${positional ? `\nArguments without a name are \`--${positional}\`.\n` : ''}
| option | value | default | |
| --- | --- | --- | --- |
${Object.entries(options).map(row).join('\n')}
`

const text = `# The command

\`npx swift-tuners COMMAND [--option value …]\`. Made from the tables of options by \`node scripts/command.mjs\`.

Names and defaults are ms-swift's, but where the table says otherwise; \`--lora-rank\` and \`--lora_rank\` are the same. A flag alone is true, and \`--flag false\` turns it off. Options that
take several values take all that follow up to the next option. \`--config FILE\` (JSON, YAML, or a module's default export) gives options, too, and the command line comes
before it. With \`--adapters\` and \`--resume_from_checkpoint\` what the folder's \`args.json\` says comes after both (\`--load_args false\` leaves it).

Progress and warnings go to standard error, results to standard output, with \`--json\` as JSON. The exit status is 0; 1 when the run failed; 2 when the arguments are wrong, which is told in one line
before anything is downloaded or written; 130 after Ctrl-C: once finishes the step and writes a checkpoint, twice ends at once.

A run writes to \`OUTPUT/vN-DATE-TIME/\`: \`args.json\`, \`logging.jsonl\` (ms-swift's keys), \`images/*.svg\`, \`checkpoint-STEP/\` (the adapter, and what a run needs to go on exactly), and the links \`last\`
and \`best\`. A run that goes on does so in its own folder, from its newest checkpoint; ms-swift begins another folder.

${Object.entries(COMMANDS).map(section).join('\n')}`

if (process.argv.includes('--check')) {
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) {
    console.error('docs/command.md is not what the tables of options say; run node scripts/command.mjs and commit it')
    process.exitCode = 1
  }
} else {
  mkdirSync(join(root, 'docs'), { recursive: true })
  writeFileSync(file, text)
}
