// @ts-check
/**
 * The STUN and TURN servers that the server names, for {@link RTCPeerConnection}s. One answer serves all joins until half of its
 * time is over, so that most joins wait for nothing.
 */
import { call } from './api.js';

/** No join waits longer for them: most networks need none. */
const PATIENCE_MS = 2000;

/** @type {Promise<RTCIceServer[]>} */ let servers = Promise.resolve([]);
let goodUntil = 0;

/** @returns {Promise<RTCIceServer[]>} none where the server names none, or does not answer */
export function iceServers() {
  if (Date.now() >= goodUntil) {
    goodUntil = Infinity; // while it is asked
    servers = ask();
  }
  return servers;
}

async function ask() {
  try {
    const answer = await call('GET', '/api/ice-servers', undefined, PATIENCE_MS);
    goodUntil = Date.now() + answer.lifetime_s * 500;
    return answer.ice_servers;
  } catch {
    goodUntil = 0;
    return [];
  }
}
