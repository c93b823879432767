// @ts-check
/**
 * The WebSocket to the gateway: JSON messages in both directions, nothing of WebRTC.
 *
 * @typedef {{type: string, [field: string]: any}} Message
 */

/** How long the socket may take to open before the attempt counts as failed. */
const OPEN_TIMEOUT_MS = 8000;

/** Where signaling is served: on the page's own origin. */
export function signalingUrl() {
  const url = new URL('/ws', location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

export class Signaling {
  /** @type {WebSocket} */ #socket;
  #timer = 0;

  /**
   * @param {string} url
   * @param {{opened: () => void, received: (message: Message) => void, closed: (why: string) => void}} handler
   *   `closed` is called once at most, and not after {@link close}.
   */
  constructor(url, handler) {
    this.#socket = new WebSocket(url);
    this.#timer = window.setTimeout(() => this.#socket.close(), OPEN_TIMEOUT_MS);
    this.#socket.onopen = () => {
      clearTimeout(this.#timer);
      handler.opened();
    };
    this.#socket.onmessage = (event) => {
      const message = parse(event.data);
      if (message) handler.received(message);
    };
    this.#socket.onclose = (event) => {
      clearTimeout(this.#timer);
      handler.closed(event.reason || 'the connection to the server was lost');
    };
  }

  /** @param {Message} message */
  send(message) {
    if (this.open) this.#socket.send(JSON.stringify(message));
  }

  get open() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** It was open, or tried to be, and is no more: a browser that slept may say so before it fires any event. */
  get lost() {
    return this.#socket.readyState >= WebSocket.CLOSING;
  }

  close() {
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}

/**
 * @param {unknown} text
 * @returns {Message | null} `null` for what is no message; a newer server may send what this page does not know.
 */
function parse(text) {
  try {
    const message = JSON.parse(String(text));
    return message && typeof message.type === 'string' ? message : null;
  } catch {
    return null;
  }
}
