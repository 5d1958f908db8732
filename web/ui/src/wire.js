// Reads the binary messages of twin_engine/messages.py: head `<BBHd`, then blocks of one channel at its own rate.
// Little-endian. A message that is not whole, or of another version, throws; the caller drops it and counts.

export const KIND = {LIVE: 0, SNAPSHOT: 1, REVISION: 2};
export const PROVENANCE = {MEASURED: 0, SYNTHESISED: 1, PREDICTED: 2, QUARANTINED: 3, WITHHELD: 4};
export const REVISED = 0x80; // bit 7 of the provenance byte: issued again after the gap closed
export const WIRE_VERSION = 1;

const HEAD_BYTES = 12;
const BLOCK_BYTES = 16; // <dfI>: first time (Unix s), period (s), count
const SAMPLE_BYTES = 14; // <fff BB>: value, lower, upper, confidence x 255, provenance
const utf8 = new TextDecoder();

/**
 * @param {ArrayBuffer|Uint8Array} data one message
 * @returns {{kind: number, clock: number, blocks: Array}} clock in Unix s; a block is {channel, period (s), t (Unix s),
 *   value, lower, upper (the signal's unit, NaN = withheld), confidence (0..255), provenance}, arrays of equal length
 */
export function decode(data) {
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEAD_BYTES) throw new RangeError(`expected a whole wire message, got ${bytes.length} bytes`);
  const version = view.getUint8(1);
  if (version !== WIRE_VERSION) throw new RangeError(`expected wire version ${WIRE_VERSION}, got ${version}`);
  const count = view.getUint16(2, true);
  const blocks = [];
  let at = HEAD_BYTES;
  for (let i = 0; i < count; i += 1) {
    const block = readBlock(bytes, view, at);
    blocks.push(block);
    at = block.end;
  }
  return {kind: view.getUint8(0), clock: view.getFloat64(4, true), blocks};
}

function readBlock(bytes, view, at) {
  const nameEnd = at + 1 + view.getUint8(at);
  const channel = utf8.decode(bytes.subarray(at + 1, nameEnd));
  const t0 = view.getFloat64(nameEnd, true);
  const period = view.getFloat32(nameEnd + 8, true);
  const n = view.getUint32(nameEnd + 12, true);
  const start = nameEnd + BLOCK_BYTES;
  const end = start + n * SAMPLE_BYTES;
  if (end > bytes.length) throw new RangeError(`expected ${n} samples of ${channel}, got ${bytes.length - start} bytes`);
  const block = {
    channel, period, end,
    t: new Float64Array(n), value: new Float32Array(n), lower: new Float32Array(n), upper: new Float32Array(n),
    confidence: new Uint8Array(n), provenance: new Uint8Array(n),
  };
  for (let i = 0, p = start; i < n; i += 1, p += SAMPLE_BYTES) {
    block.t[i] = t0 + i * period;
    block.value[i] = view.getFloat32(p, true);
    block.lower[i] = view.getFloat32(p + 4, true);
    block.upper[i] = view.getFloat32(p + 8, true);
    block.confidence[i] = bytes[p + 12];
    block.provenance[i] = bytes[p + 13];
  }
  return block;
}
