// Answers deliveries as Node servers do, for the tests of our HTTP client: plain, or over TLS where PEM files are named.
// node answers.mjs KEEP_ALIVE_MS [KEY CERTIFICATE]; prints its port, then `closed` for each connection that ends.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const [keepAliveMs, key, certificate] = process.argv.slice(2);

function answer(request, response) {
  const [, what, argument] = request.url.split('/');
  if (what === 'early') {
    // Node closes a connection whose request was not read to its end.
    response.writeHead(413, { Connection: 'close' }).end('too long');
    return;
  }
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces);
    if (what === 'chunked') {
      response.write('one ');
      setImmediate(() => response.end('two'));
    } else if (what === 'hints') {
      response.writeContinue();
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      response.end('after');
    } else if (what === 'headers') {
      response.writeHead(200, JSON.parse(body.toString('utf8'))).end();
    } else if (what === 'destroy') {
      request.socket.destroy();
    } else {
      response.writeHead(Number(argument ?? 200)).end(`${body.length}`);
    }
  });
}

const server = key
  ? https.createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, answer)
  : http.createServer(answer);
server.keepAliveTimeout = Number(keepAliveMs);
server.keepAliveTimeoutBuffer = 0;
server.on(key ? 'secureConnection' : 'connection', (socket) => {
  socket.on('error', () => {});
  socket.on('close', () => process.stdout.write('closed\n'));
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
