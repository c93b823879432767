// @ts-check
/**
 * The service worker: pages open with words when the server cannot be reached. It keeps nothing else, since live pictures and states
 * that are not live would lie; files are kept by the browser's own cache.
 */

const CACHE = 'apiary-offline-1';
const PAGE = '/offline.html';
/** What {@link PAGE} loads. */
const FILES = [PAGE, '/assets/offline.css', '/assets/js/offline.js', '/assets/favicon.svg'];

const worker = /** @type {any} */ (self);

worker.addEventListener('install', (/** @type {any} */ event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => worker.skipWaiting()));
});

worker.addEventListener('activate', (/** @type {any} */ event) => {
  const old = caches.keys().then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))));
  event.waitUntil(old.then(() => worker.clients.claim()));
});

worker.addEventListener('fetch', (/** @type {any} */ event) => {
  const { request } = event;
  if (request.mode === 'navigate') {
    event.respondWith(fetch(request).catch(() => caches.match(PAGE)));
  } else if (FILES.includes(new URL(request.url).pathname)) {
    event.respondWith(fetch(request).catch(async () => (await caches.match(request)) ?? Response.error()));
  }
});
