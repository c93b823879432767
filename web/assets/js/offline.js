// @ts-check
/** The page that is shown while the server cannot be reached. It loads nothing else, so its German stands here. */

const ASK_EVERY_MS = 3000;

/** As chosen under Account, or the browser's. */
const language = localStorage.getItem('apiary.language') ?? navigator.language;

if (language.startsWith('de')) {
  document.documentElement.lang = 'de';
  set('title', 'Apiary ist nicht erreichbar');
  set('text', 'Dein Server antwortet nicht: Er ist aus, oder dieses Gerät ist nicht in seinem Netz. Diese Seite geht von selbst weiter, sobald er antwortet.');
  set('again', 'Jetzt versuchen');
}
document.getElementById('again')?.addEventListener('click', () => location.reload());
window.addEventListener('online', () => location.reload());
setInterval(async () => {
  const answer = await fetch('/health/live', { cache: 'no-store' }).catch(() => null);
  if (answer?.ok) location.reload();
}, ASK_EVERY_MS);

/**
 * @param {string} id
 * @param {string} text
 */
function set(id, text) {
  const element = document.getElementById(id);
  if (element) element.textContent = text;
}
