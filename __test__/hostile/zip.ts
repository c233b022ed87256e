/** Zip archives, as `torch.save` makes them and as it does not. */
import { constants, crc32, deflateRawSync } from 'node:zlib'
import { text } from './contents.js'

export interface Member {
  name: string
  bytes: Buffer
  /** Of a packed member: what it says that it unpacks to. */
  unpacked?: { size: number; crc: number }
}

/** Members in their order, stored unless packed already. */
export function zip(members: Member[]): Buffer {
  const locals: Buffer[] = []
  const central: Buffer[] = []
  let at = 0
  for (const { name, bytes, unpacked } of members) {
    const head = Buffer.alloc(26)
    head.writeUInt16LE(20, 0)
    head.writeUInt16LE(unpacked ? 8 : 0, 4)
    head.writeUInt16LE(33, 8)
    head.writeUInt32LE(unpacked?.crc ?? crc32(bytes), 10)
    head.writeUInt32LE(bytes.length, 14)
    head.writeUInt32LE(unpacked?.size ?? bytes.length, 18)
    head.writeUInt16LE(Buffer.byteLength(name), 22)
    const local = Buffer.concat([text('PK\x03\x04'), head, text(name), bytes])
    const tail = Buffer.alloc(14)
    tail.writeUInt32LE(at, 10)
    central.push(text('PK\x01\x02'), Buffer.from([20, 0]), head, tail, text(name))
    locals.push(local)
    at += local.length
  }
  const directory = Buffer.concat(central)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(members.length, 4)
  end.writeUInt16LE(members.length, 6)
  end.writeUInt32LE(directory.length, 8)
  end.writeUInt32LE(at, 12)
  return Buffer.concat([...locals, directory, text('PK\x05\x06'), end])
}

/** A member of `size` zero bytes (whole MiB), packed a thousandfold: one packed piece, which refers to nothing before it, over and over. */
export function bomb(name: string, size: number): Member {
  const piece = Buffer.alloc(2 ** 20)
  const packed = deflateRawSync(piece, { level: constants.Z_BEST_COMPRESSION, finishFlush: constants.Z_FULL_FLUSH })
  const count = size / piece.length
  let crc = 0
  for (let i = 0; i < count; i++) crc = crc32(piece, crc)
  const end = Buffer.from([3, 0])
  return { name, bytes: Buffer.concat([...Array.from({ length: count }, () => packed), end]), unpacked: { size, crc } }
}
