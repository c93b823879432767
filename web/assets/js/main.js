// @ts-check
/** Where the app begins: with the camera that the page is opened for, whose connection takes time of its own. */

const camera = new URLSearchParams(location.search).get('camera')?.toUpperCase();
if (camera && location.pathname.endsWith('/viewer')) {
  await import('./media/ahead.js').then(({ begin }) => begin(camera), () => {}); // the app says what is wrong
}
void import('./views/app.js');
// Without it nothing is lost but the words while the server cannot be reached; plain HTTP has none.
if ('serviceWorker' in navigator) void navigator.serviceWorker.register('/sw.js').catch(() => {});

export {};
