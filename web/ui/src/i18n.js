// Every sentence on the page by its key, in the page's language (<html lang>). The texts are web/words/*/*.json, put
// into the bundle by build.mjs and handed over by index.js; Python fills the same files.

let texts = {en: {}};

/** Take the catalogues: language -> key -> text. */
export const learn = (catalogues) => { texts = catalogues; };

export const languages = () => Object.keys(texts).sort((a, b) => (b === 'en') - (a === 'en') || (a < b ? -1 : 1));
export const language = () => {
  const wanted = globalThis.document?.documentElement.lang;
  return wanted in texts ? wanted : 'en';
};
/** BCP 47 tag for dates and numbers. */
export const locale = () => ({en: 'en-GB', de: 'de-DE'})[language()] ?? language();

/** The text of `key` with its {placeholders} filled from `facts`; the key itself where there is none. */
export function t(key, facts = {}) {
  const text = texts[language()][key] ?? texts.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => facts[name] ?? whole);
}

/** All texts of an area, by their names within it: what a lazy bundle, which has no catalogues, is handed. */
export const area = (name) => Object.fromEntries(
  Object.keys(texts.en).filter((key) => key.startsWith(`${name}.`)).map((key) => [key.slice(name.length + 1), t(key)]),
);

/** The text of `key` with its placeholders as they are. */
export const raw = (key) => texts[language()][key] ?? texts.en[key] ?? key;

/** Whether there is a text of that key. */
export const has = (key) => key in texts.en;

/** A signal's name; `fallback` for one that no catalogue knows. */
export const signalName = (id, fallback = id) => (has(`signal.${id}`) ? t(`signal.${id}`) : fallback);

/** A channel's name, "EMG cheek": its signal's and its part's. */
export function channelName(id, fallback = id) {
  const [signal, part] = id.split('.');
  if (!has(`signal.${signal}`)) return fallback;
  return part ? `${t(`signal.${signal}`)} ${has(`part.${part}`) ? t(`part.${part}`) : part}` : t(`signal.${signal}`);
}
