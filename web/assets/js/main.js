// @ts-check
/** Where the app begins. Each part runs as soon as what it needs is there; the camera that a page is opened for needs least. */

const camera = new URLSearchParams(location.search).get('camera')?.toUpperCase();
if (camera && location.pathname.endsWith('/viewer')) void import('./media/ahead.js').then(({ begin }) => begin(camera));
void import('./views/app.js');
// Without it nothing is lost but the words while the server cannot be reached; plain HTTP has none.
if ('serviceWorker' in navigator) void navigator.serviceWorker.register('/sw.js').catch(() => {});
