// @ts-check
/**
 * The STUN and TURN servers that the server names, for {@link RTCPeerConnection}s. One answer serves all joins until half of its
 * time is over, so that most joins wait for nothing.
 *
 * @typedef {import('./signaling.js').Server} Server
 */

/** No join waits longer for them: most networks need none. */
const PATIENCE_MS = 2000;

/** What each server last said, by its origin and who asked. @type {Map<string, {servers: Promise<RTCIceServer[]>, goodUntil: number}>} */
const answers = new Map();

/**
 * @param {Server} server
 * @returns {Promise<RTCIceServer[]>} none where the server names none, or does not answer
 */
export function iceServers(server) {
  const key = `${server.origin} ${server.token}`;
  const known = answers.get(key);
  if (known && Date.now() < known.goodUntil) return known.servers;
  const answer = { servers: Promise.resolve(/** @type {RTCIceServer[]} */ ([])), goodUntil: Infinity }; // while it is asked
  answer.servers = ask(server).then(
    (said) => {
      answer.goodUntil = Date.now() + said.lifetime_s * 500;
      return said.ice_servers;
    },
    () => {
      answer.goodUntil = 0;
      return [];
    },
  );
  answers.set(key, answer);
  return answer.servers;
}

/**
 * @param {Server} server
 * @returns {Promise<{ice_servers: RTCIceServer[], lifetime_s: number}>}
 */
async function ask({ origin, token }) {
  const response = await fetch(new URL('/api/ice-servers', origin), {
    cache: 'no-store',
    signal: AbortSignal.timeout(PATIENCE_MS),
    ...(token && { headers: { Authorization: `Bearer ${token}` } }),
  });
  if (!response.ok) throw new Error(`it answered ${response.status}`);
  return response.json();
}
