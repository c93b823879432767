// @ts-check
/**
 * The service worker: pages open with words when the server cannot be reached. It keeps nothing else, since live pictures and states
 * that are not live would lie; files are kept by the browser's own cache.
 */

const CACHE = 'apiary-offline-1';
/** Where pages leave the language that was chosen on them. */
const LANGUAGE_CACHE = 'apiary-language';
const PAGE = '/offline.html';
/** What {@link PAGE} loads. */
const FILES = [PAGE, '/assets/offline.css', '/assets/js/offline.js', '/assets/favicon.svg'];

const worker = /** @type {any} */ (self);

worker.addEventListener('install', (/** @type {any} */ event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => worker.skipWaiting()));
});

worker.addEventListener('activate', (/** @type {any} */ event) => {
  const old = caches.keys().then((names) => Promise.all(names.filter((name) => ![CACHE, LANGUAGE_CACHE].includes(name)).map((name) => caches.delete(name))));
  event.waitUntil(old.then(() => worker.clients.claim()));
});

worker.addEventListener('fetch', (/** @type {any} */ event) => {
  const { request } = event;
  if (request.mode === 'navigate') {
    event.respondWith(fetch(request).catch(() => caches.match(PAGE)));
  } else if (FILES.includes(new URL(request.url).pathname)) {
    // All answers vary by origin, and a module asks with one where the worker did not.
    event.respondWith(fetch(request).catch(async () => (await caches.match(request, { ignoreVary: true })) ?? Response.error()));
  }
});

/**
 * Notifications. The words stand here, since pages and their catalogues are not loaded for one.
 *
 * @typedef {{kind: string, activity?: string, camera?: string, name?: string, at: string}} Message
 */
const WORDS = {
  en: { person: 'Person', motion: 'Motion', audio: 'Sound', other: 'Activity', offline: 'Offline', test: 'Notifications work on this device.', camera: 'Camera' },
  de: { person: 'Person', motion: 'Bewegung', audio: 'Geräusch', other: 'Aktivität', offline: 'Offline', test: 'Mitteilungen kommen auf diesem Gerät an.', camera: 'Kamera' },
};

worker.addEventListener('push', (/** @type {any} */ event) => {
  event.waitUntil(show(read(event.data)));
});

worker.addEventListener('notificationclick', (/** @type {any} */ event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.path ?? '/'));
});

// The browser has another address at its maker's service: what was chosen for the old one is kept.
worker.addEventListener('pushsubscriptionchange', (/** @type {any} */ event) => {
  event.waitUntil(subscribeAnew(event.oldSubscription, event.newSubscription));
});

/**
 * A message that cannot be read is shown too: browsers take it ill when nothing is.
 *
 * @param {any} data
 * @returns {Message}
 */
function read(data) {
  try {
    return data.json();
  } catch {
    return { kind: 'other', at: new Date().toISOString() };
  }
}

/** @param {Message} message */
async function show({ kind, activity, camera, name, at }) {
  const left = await caches.match('/language', { cacheName: LANGUAGE_CACHE }).catch(() => undefined);
  const language = (await left?.text() ?? navigator.language).startsWith('de') ? 'de' : 'en';
  const words = /** @type {Record<string, string>} */ (WORDS[language]);
  const time = new Date(at).toLocaleTimeString(language, { hour: '2-digit', minute: '2-digit' });
  const what = activity ?? words[kind] ?? kind;
  return worker.registration.showNotification(camera ? name ?? `${words['camera']} ${camera.slice(0, 8)}` : 'Apiary', {
    body: camera ? `${what} · ${time}` : what,
    lang: language,
    // The next one of the same camera takes its place, and is heard.
    tag: camera ?? kind,
    renotify: true,
    timestamp: Date.parse(at),
    icon: '/assets/icon-192.png',
    data: { path: camera ? `/viewer?camera=${encodeURIComponent(camera)}` : '/account' },
  });
}

/**
 * In a window that shows it already, or in one that nobody looks at, or in a new one.
 *
 * @param {string} path
 */
async function open(path) {
  const address = new URL(path, location.origin).href;
  const windows = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const there = windows.find((/** @type {any} */ client) => client.url === address);
  if (there) return there.focus();
  const unseen = windows.find((/** @type {any} */ client) => client.visibilityState !== 'visible');
  const moved = await unseen?.navigate(address).catch(() => null); // one that this worker does not control stays
  return moved ? moved.focus() : worker.clients.openWindow(address);
}

/**
 * @param {PushSubscription | null} old
 * @param {PushSubscription | null} given by newer browsers
 */
async function subscribeAnew(old, given) {
  const options = { userVisibleOnly: true, applicationServerKey: old?.options.applicationServerKey };
  const subscription = given ?? await worker.registration.pushManager.subscribe(options);
  const { endpoint, keys } = subscription.toJSON();
  await fetch('/api/push/subscriptions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ endpoint, keys: { p256dh: keys.p256dh, auth: keys.auth }, name: 'Browser', ...(old && { replaces: old.endpoint }) }),
  });
}
