// @ts-check
/**
 * All texts of the pages, in the reader's language: `t('wall.empty')`, `t('viewers', { n: 3 })`.
 *
 * A text is a string with `{name}` where a value goes, or one for each plural form of the value `n` (CLDR's names). `en.js` is
 * the catalogue that counts: the type checker fails on a key that it lacks, and on one that another language lacks.
 *
 * @typedef {typeof import('./en.js').default} Catalogue
 * @typedef {keyof Catalogue} Key
 * @typedef {{[category in Intl.LDMLPluralRule]?: string} & {other: string}} Plural
 *
 * What the server says by a code, as `docs/api.md` describes it.
 * @typedef {{code: string, values?: Record<string, string>}} Cause
 */

/** Languages with a whole catalogue, by their own names. */
export const LANGUAGES = { en: 'English', de: 'Deutsch' };
/** @typedef {keyof typeof LANGUAGES} Language */

const CHOICE_KEY = 'apiary.language';

export const language = choose();

/** @type {Record<string, string | Plural>} */
const catalogue = (await (language === 'de' ? import('./de.js') : import('./en.js'))).default;
const plurals = new Intl.PluralRules(language);

/**
 * @param {Key} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values) {
  return text(key, values) ?? key;
}

/**
 * Like {@link t} for keys that come from elsewhere: from the server, from a camera.
 *
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string | null} `null` where there is no such text
 */
export function text(key, values = {}) {
  const entry = Object.hasOwn(catalogue, key) ? catalogue[key] : undefined;
  if (entry === undefined) return null;
  const pattern = typeof entry === 'string' ? entry : entry[plurals.select(Number(values.n))] ?? entry.other;
  return pattern.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === 'number' ? value.toLocaleString(language) : value;
  });
}

/**
 * Why something is so, in the reader's language where the server's code is known, else in the server's own words.
 *
 * @param {Cause | null | undefined} cause
 * @param {string} own what the server says in English
 */
export function reason(cause, own) {
  return (cause && text(`reason.${cause.code}`, { ...cause.values, text: own })) || own;
}

/** @param {Language} chosen */
export function speak(chosen) {
  localStorage.setItem(CHOICE_KEY, chosen);
  location.reload();
}

/** @returns {Language} what was chosen here, else the first language of the browser that there is */
function choose() {
  const wanted = [chosenBefore(), ...navigator.languages].map((tag) => tag?.slice(0, 2).toLowerCase());
  return /** @type {Language | undefined} */ (wanted.find((tag) => tag && tag in LANGUAGES)) ?? 'en';
}

/** @returns {string | null} */
function chosenBefore() {
  try {
    return localStorage.getItem(CHOICE_KEY);
  } catch {
    return null; // a frame on a foreign page may have no storage
  }
}
