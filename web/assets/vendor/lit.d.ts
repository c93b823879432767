// What of Lit the pages use; scripts/vendor-web.sh makes lit.js of it.
export * from 'lit';
export { keyed } from 'lit/directives/keyed.js';
export { repeat } from 'lit/directives/repeat.js';
