// Kurento's own client talks to the double: `node client.js URL OFFER-FOR-RTP OFFER-FOR-WEBRTC`. Ends with 0 if it has got
// what it expects of a real server.
'use strict';

const assert = require('node:assert/strict');
const kurento = require('kurento-client');

const [url, rtpOffer, webRtcOffer] = process.argv.slice(2);
const DEADLINE_MS = 20000;

/** The first event of this type for which `wanted` holds. */
function event(object, type, wanted = () => true) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${type}`)), DEADLINE_MS);
    object.on(type, (found) => {
      if (wanted(found)) {
        clearTimeout(timer);
        resolve(found);
      }
    });
  });
}

async function negotiate(pipeline) {
  const rtp = await pipeline.create('RtpEndpoint');
  await rtp.setMaxVideoRecvBandwidth(1500);
  assert.equal(await rtp.getMaxVideoRecvBandwidth(), 1500);
  const connected = event(rtp, 'ConnectionStateChanged', (found) => found.newState === 'CONNECTED');
  // A subscription is on its way before what is asked next.
  const answer = await rtp.processOffer(rtpOffer);
  assert.match(answer, /^s=Kurento Media Server\r$/m);
  assert.match(answer, /^a=direction:passive\r$/m);
  await connected;
  assert.equal(await rtp.getStats(), null);

  const webRtc = await pipeline.create('WebRtcEndpoint');
  const candidate = event(webRtc, 'IceCandidateFound');
  const done = event(webRtc, 'IceGatheringDone');
  await webRtc.setMinVideoSendBandwidth(500);
  await webRtc.setMaxVideoSendBandwidth(5000);
  assert.match(await webRtc.processOffer(webRtcOffer), /^a=setup:active\r$/m);
  await rtp.connect(webRtc);
  await webRtc.gatherCandidates();
  const found = (await candidate).candidate;
  assert.match(found.candidate, /^candidate:1 1 UDP \d+ [\d.]+ \d+ typ host$/);
  assert.equal(typeof found.sdpMLineIndex, 'number');
  await done;
  const complex = kurento.getComplexType('IceCandidate');
  await webRtc.addIceCandidate(complex({ candidate: 'candidate:garbage', sdpMid: '0', sdpMLineIndex: 0 }));
  const connections = await rtp.getSinkConnections();
  assert.deepEqual(connections.map((one) => one.type), ['AUDIO', 'DATA', 'VIDEO']);
  // Without a callback the client would print the error and go on.
  const refused = await new Promise((resolve) => rtp.processOffer(rtpOffer, resolve));
  assert.equal(refused.code, 40208);
  assert.equal(refused.data.type, 'SDP_END_POINT_ALREADY_NEGOTIATED');
  return { rtp, webRtc };
}

async function main() {
  const client = await kurento(url, { failAfter: 1 });
  const manager = await client.getServerManager();
  const info = await manager.getInfo();
  assert.equal(info.type, 'KMS');
  assert.match(info.version, /^7\./);

  const pipeline = await client.create('MediaPipeline');
  await pipeline.setName('of the test');
  assert.equal(await pipeline.getName(), 'of the test');
  const { rtp, webRtc } = await negotiate(pipeline);
  assert.deepEqual((await manager.getPipelines()).map((one) => one.id), [pipeline.id]);
  assert.equal(typeof (await manager.getUsedCpu(100)), 'number');

  await webRtc.release();
  await rtp.release();
  await pipeline.release();
  assert.deepEqual(await manager.getPipelines(), []);
  client.close();
}

main().then(
  () => {
    console.log('all as expected');
    // The client's own timers would keep it for another 20 s.
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
