// What nginx cannot say in its own words: who asks (signed), and what people see when there is no answer.
import crypto from 'crypto';
import fs from 'fs';

const VERSION = 'auricle-client-1';
const TYPE = 'urn:auricle:problem:';

// Status -> type, title, and a sentence that says what to do. As functions say it (auricle.errors, runtime/problems.py).
const PROBLEMS = {
    400: ['bad-request', 'Bad request', 'The gateway cannot read this request.'],
    403: ['denied', 'Not allowed', 'The gateway does not allow this.'],
    405: ['methodnotallowed', 'Method Not Allowed', 'This method is allowed nowhere here.'],
    408: ['request-timeout', 'Too slow', 'The request did not arrive in time. Try again.'],
    413: ['too-large', 'Too large', 'A request body has at most 1048576 bytes. Media goes up in parts: POST /api/uploads.'],
    414: ['too-long', 'Too long', 'This address is too long.'],
    421: ['misdirected', 'Wrong host', 'This connection was made for another host. Connect anew.'],
    429: ['too-many', 'Too many requests', 'Too many requests come from your address. Wait a moment, then go on more slowly.'],
    495: ['bad-request', 'Bad certificate', 'Your certificate is not valid here.'],
    496: ['bad-request', 'No certificate', 'This deployment asks for a client certificate. Connect with yours.'],
    497: ['bad-request', 'Bad request', 'This port speaks https only.'],
    500: ['unexpected', 'Unexpected error',
          'Something went wrong on our side. It is logged with the request id; try again, and report it if it stays.'],
};
const AWAY = ['unavailable', 'Not now', 'This part of Auricle is starting or being replaced. Try again in a few seconds.'];
const SUSPENDED = ['suspended', 'Suspended', 'This vault is suspended, and nothing in it is lost. Ask those who run it.'];
const UNKNOWN = ['not-found', 'No such vault', 'No vault under this name. Check the address.'];
const AWAY_SECONDS = 3;
const BUSY_SECONDS = 1;
// Title, what else stands in the head, and text of the pages that people see. This one tries again by itself, without any script.
const AWAY_PAGE = ['Just a moment', `<meta http-equiv="refresh" content="${AWAY_SECONDS}">\n`,
                   '<p>This part of Auricle is starting. The page tries again by itself.</p>\n'
                   + '<p><a href="">Try again now</a></p>'];
const SUSPENDED_PAGE = ['This vault is suspended', '', '<p>Nothing in it is lost. Ask those who run it.</p>'];

function signature(r) {
    let keys;
    try {
        // At each request: the file is small, and changes when the key does.
        keys = fs.readFileSync(r.variables.auricle_gateway_key).toString();
    } catch (e) {
        r.error('the gateway has no key, so functions believe nothing of clients: ' + e.message);
        return '';
    }
    const key = keys.split(',')[0].trim();
    const moment = Math.floor(Date.now() / 1000).toString();
    const v = r.variables;
    const values = [VERSION, moment, r.method, v.remote_addr, v.http_host || '', v.scheme, v.auricle_client_subject || '',
                    fingerprint(r), ''];
    const mac = crypto.createHmac('sha256', Buffer.from(key, 'hex'));
    mac.update(values.join('\n'));
    mac.update(r.rawVariables.uri);
    return moment + ':' + mac.digest('hex');
}

// SHA-256 of the client's certificate; nginx itself only knows SHA-1.
function fingerprint(r) {
    const der = certificate(r);
    return der && crypto.createHash('sha256').update(Buffer.from(der, 'base64')).digest('hex');
}

// The certificate itself (DER in base64), once it was verified. The signature covers it by its fingerprint.
function certificate(r) {
    if (r.variables.ssl_client_verify !== 'SUCCESS') {
        return '';
    }
    return r.variables.ssl_client_raw_cert.replace(/-----[^-]+-----|\s/g, '');
}

// The answer to what nginx refuses, and to what it got no answer for.
function problem(r) {
    const status = Number(r.variables.status) || 500;
    if (status === 503 && r.variables.auricle_vault === 'suspended') {
        suspended(r, status);
        return;
    }
    if (status >= 502 && status <= 504) {
        const page = away(r, status);
        comeBack(r, page);
        r.return(status, page.text);
        return;
    }
    r.headersOut['Content-Type'] = 'application/problem+json';
    r.headersOut['Cache-Control'] = 'no-store';
    if (status === 429) {
        r.headersOut['Retry-After'] = BUSY_SECONDS.toString();
    }
    let said = PROBLEMS[status] || ['refused', 'Refused', 'The gateway refuses this request.'];
    if (status === 404 && r.variables.auricle_vault === 'unknown') {
        said = UNKNOWN;
    } else if (status === 404) {
        said = ['not-found', 'Not found', r.uri.startsWith('/events/')
            ? 'There is nothing here. Events are taken from the broker only.'
            : `There is nothing at ${r.uri}. The interface is described at /api/docs.`];
    }
    r.return(status, document(r, status, said));
}

function suspended(r, status) {
    const page = forWhom(r, SUSPENDED_PAGE, status, SUSPENDED);
    r.headersOut['Content-Type'] = page.type;
    r.headersOut['Cache-Control'] = 'no-store';
    r.return(status, page.text);
}

// Knative's ingress, activator and sidecar answer 404, 502, 503 or 504 in words of their own while a function is away. A
// function's answer, whatever its status, has an X-Request-Id.
function isAway(r) {
    const status = upstreamStatus(r);
    return (status === 404 || (status >= 502 && status <= 504)) && !r.variables.upstream_http_x_request_id;
}

function upstreamStatus(r) {
    return Number(r.variables.upstream_status);
}

// The ingress knows no such host (404): to people that is a function that is not there yet.
function awayStatus(r) {
    return upstreamStatus(r) === 404 ? 503 : upstreamStatus(r);
}

function awayHeaders(r) {
    if (!isAway(r)) {
        return;
    }
    // njs 0.7.9 cannot change it for HTTP/1.1 (it sends the upstream's status line); HTTP/2 and newer ones are right.
    r.status = awayStatus(r);
    delete r.headersOut['Content-Length'];
    delete r.headersOut['Content-Encoding'];
    comeBack(r, away(r, awayStatus(r)));
}

function awayBody(r, data, flags) {
    if (!isAway(r)) {
        r.sendBuffer(data, flags);
        r.done();
        return;
    }
    if (flags.last) {
        r.sendBuffer(away(r, awayStatus(r)).text, {last: true});
    }
}

function comeBack(r, page) {
    r.headersOut['Content-Type'] = page.type;
    r.headersOut['Retry-After'] = AWAY_SECONDS.toString();
    r.headersOut['Cache-Control'] = 'no-store';
}

function away(r, status) {
    return forWhom(r, AWAY_PAGE, status, AWAY);
}

// People get a page, programs a document.
function forWhom(r, page, status, said) {
    if (r.method === 'GET' && /text\/html/.test(r.headersIn.Accept || '')) {
        return {type: 'text/html; charset=utf-8', text: pageOf(page[0], page[1], page[2])};
    }
    return {type: 'application/problem+json', text: document(r, status, said)};
}

function document(r, status, said) {
    return JSON.stringify({
        type: TYPE + said[0], title: said[1], status: status, detail: said[2],
        trace: r.variables.auricle_traceparent.split('-')[1],
    });
}

function pageOf(title, head, text) {
    return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
${head}<title>${title} · Auricle</title>
<style>
body { margin: 0; min-height: 100vh; display: grid; place-content: center; text-align: center; font: 1.1rem/1.5 system-ui, sans-serif; }
main { padding: 1.5rem; max-width: 32rem; }
h1 { font-size: 1.6rem; }
</style>
</head>
<body>
<main role="status">
<h1>${title}</h1>
${text}
</main>
</body>
</html>
`;
}

export default {signature, fingerprint, certificate, problem, awayHeaders, awayBody};
