// @ts-check
/** Where the app begins. */
import { language } from './i18n/i18n.js';
import './views/app.js';

document.documentElement.lang = language;
// Without it nothing is lost but the words while the server cannot be reached; plain HTTP has none.
if ('serviceWorker' in navigator) void navigator.serviceWorker.register('/sw.js').catch(() => {});
