// Puts text into a PNG that is there already: an iTXt chunk (PNG 3rd edition, 11.3.3.4) after the header, UTF-8.

const HEADER_END = 33; // 8 bytes of signature, 25 of IHDR
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const utf8 = new TextEncoder();

/** The PNG `bytes` (Uint8Array) with `text` under `keyword` (Latin, 1 to 79 characters). RangeError on no PNG. */
export function withText(bytes, keyword, text) {
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) throw new RangeError('expected a PNG, got another file; no text was put into it');
  const body = [...utf8.encode('iTXt'), ...utf8.encode(keyword), 0, 0, 0, 0, 0]; // not packed, no language, no translation
  const data = new Uint8Array([...body, ...utf8.encode(text)]);
  const chunk = new Uint8Array(data.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, data.length - 4); // the type doesn't count
  chunk.set(data, 4);
  view.setUint32(data.length + 4, crc32(data));
  const out = new Uint8Array(bytes.length + chunk.length);
  out.set(bytes.subarray(0, HEADER_END));
  out.set(chunk, HEADER_END);
  out.set(bytes.subarray(HEADER_END), HEADER_END + chunk.length);
  return out;
}

/** CRC-32 of ISO 3309, as PNG uses it. */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
