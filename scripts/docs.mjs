/** Fails when a public member has no doc comment: what an editor shows where it is used. */
import { join, relative } from 'node:path'
import ts from 'typescript'
import { root } from './setup.mjs'

/** Written from the declarations of the tuners' configurations, which have their own comments. */
const GENERATED = 'src/tuners.ts'

const config = ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config, ts.sys, root)
const program = ts.createProgram([join(root, 'index.ts')], config.options)
const checker = program.getTypeChecker()
const own = declaration => {
  const file = relative(root, declaration.getSourceFile().fileName)
  return !file.startsWith('node_modules') && file !== GENERATED
}

const missing = []
let count = 0

/** Whether a symbol is meant for users: nothing that is private, `@internal`, or another package's. */
function isPublic(symbol) {
  const declarations = symbol.declarations ?? []
  const hidden = d => ts.getCombinedModifierFlags(d) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected) || (d.name && ts.isPrivateIdentifier(d.name))
  return declarations.some(own) && !declarations.some(hidden) && !symbol.getJsDocTags(checker).some(tag => tag.name === 'internal')
}

function look(symbol, name) {
  if (!isPublic(symbol)) return
  count += 1
  if (symbol.getDocumentationComment(checker).length === 0 && symbol.getJsDocTags(checker).length === 0) {
    const place = symbol.declarations[0]
    const { line } = place.getSourceFile().getLineAndCharacterOfPosition(place.getStart())
    missing.push(`${relative(root, place.getSourceFile().fileName)}:${line + 1} ${name}`)
  }
}

const members = symbol => {
  const declared = [...(symbol.members?.values() ?? []), ...(symbol.exports?.values() ?? [])]
  const literal = symbol.valueDeclaration && ts.isVariableDeclaration(symbol.valueDeclaration) ? symbol.valueDeclaration.initializer : undefined
  const properties = literal && ts.isObjectLiteralExpression(literal) ? checker.getTypeAtLocation(literal).getProperties() : []
  return [...declared, ...properties].filter(m => !(m.flags & (ts.SymbolFlags.Constructor | ts.SymbolFlags.TypeParameter | ts.SymbolFlags.Prototype | ts.SymbolFlags.Signature)))
}

const index = checker.getSymbolAtLocation(program.getSourceFile(join(root, 'index.ts')))
for (const exported of checker.getExportsOfModule(index)) {
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
  look(symbol, exported.name)
  if (isPublic(symbol)) for (const member of members(symbol)) look(member, `${exported.name}.${ts.unescapeLeadingUnderscores(member.escapedName).replace(/^__@(\w+)@\d+$/, '[Symbol.$1]')}`)
}

for (const place of missing) console.error(`${place}: no doc comment`)
console.log(`${count} public members, ${missing.length} without a doc comment`)
process.exitCode = missing.length > 0 ? 1 : 0
