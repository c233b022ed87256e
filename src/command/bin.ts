#!/usr/bin/env node
/** The command `swift-tuners`. */
import { main } from './main.js'

// Whoever reads may have enough: `swift-tuners data … | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

void main(process.argv.slice(2)).then(status => {
  process.exitCode = status
})
