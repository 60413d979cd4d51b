// One gateway for many tenants: whose host, whose certificate, whose notification. njs keeps nothing from one request to the
// next, so every answer is one small file.
import crypto from 'crypto';
import fs from 'fs';

// What may be a file's name: no dot leads out of the folder, and none begins one of kubelet's own (`..data`).
const HOST = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const BUCKET = /^[a-z0-9][a-z0-9.-]*$/;
const LONGEST = 253;
const PAUSES = [1000, 4000];
const PATIENCE = 20000;

function read(path) {
    try {
        return fs.readFileSync(path).toString().trim();
    } catch (e) {
        return '';
    }
}

function isHost(name) {
    return name.length <= LONGEST && HOST.test(name);
}

// `STATE NAMESPACE BUCKET [grouped]` of the host that was asked; empty when it is nobody's.
function place(r) {
    const v = r.variables;
    const host = v.host || '';
    // Functions are told the Host header, and nginx prefers the request line: who sends two names has none.
    const sent = (v.http_host || '').toLowerCase().replace(/:\d*$/, '');
    return isHost(host) && sent === host ? read(`${v.auricle_hosts}/${host}`) : '';
}

// Path of the certificate for a handshake, without its ending.
function certificate(r) {
    const v = r.variables;
    const name = (v.ssl_server_name || '').toLowerCase();
    if (isHost(name)) {
        const own = `${v.auricle_certificates}/${name}`;
        try {
            fs.accessSync(own + '.crt', fs.constants.R_OK);
            fs.accessSync(own + '.key', fs.constants.R_OK);
            return own;
        } catch (e) {
            // most have none
        }
    }
    return v.auricle_certificate_of_all;
}

// The store tells in a row: what is answered with a refusal stands before everybody else's until it is taken. So only what no
// tenant can be blamed for is refused. Whatever a tenant's function does not take is logged and left: its sweep finds drops,
// and clients complete their uploads.
async function relay(r) {
    const v = r.variables;
    if (r.method !== 'POST') {
        r.return(405);
        return;
    }
    if (!same(r.headersIn.Authorization || '', 'Bearer ' + read(v.auricle_relay_token))) {
        r.return(401);
        return;
    }
    const bucket = bucketOf(r.requestText || '');
    const held = bucket && read(`${v.auricle_keys}/bucket-token.${bucket}`).split(' ');
    if (!held || held.length < 2) {
        r.warn(`a notification about ${bucket ? 'the bucket ' + bucket + ', which is no open tenant\'s' : 'no bucket'}, was left`);
        r.return(204);
        return;
    }
    v.auricle_told_namespace = held[0];
    v.auricle_told_token = held[held.length - 1];
    v.auricle_told_layout = held.length > 2 ? held[1] : '';
    const status = await delivered(r, held[0]);
    r.return(status);
}

async function delivered(r, namespace) {
    const begun = Date.now();
    let status = 0;
    for (let i = 0; i <= PAUSES.length; i += 1) {
        const reply = await r.subrequest('/deliver/api/bucket-events', {method: 'POST', body: r.requestText});
        status = reply.status;
        if (status >= 200 && status < 300) {
            return 204;
        }
        // Refused for good, or no time is left within which the store listens.
        if ((status < 500 && status !== 404 && status !== 429) || i === PAUSES.length || Date.now() - begun > PATIENCE) {
            break;
        }
        await pause(PAUSES[i]);
    }
    if (status === 502) {
        return 503;
    }
    r.error(`a notification was not taken by bucket-events of ${namespace}, which answers ${status}`);
    return 204;
}

function pause(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// The one bucket that a notification is about; empty when there is none, or more than one.
function bucketOf(text) {
    try {
        const names = JSON.parse(text).Records.map((record) => record.s3.bucket.name);
        const bucket = names[0];
        return BUCKET.test(bucket) && names.every((name) => name === bucket) ? bucket : '';
    } catch (e) {
        return '';
    }
}

// Compared by digests, so that time tells nothing.
function same(given, wanted) {
    return wanted !== 'Bearer ' && digest(given) === digest(wanted);
}

function digest(text) {
    return crypto.createHash('sha256').update(text).digest('hex');
}

export default {place, certificate, relay};
