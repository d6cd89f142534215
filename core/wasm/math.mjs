// Solves the quiz of a server: node math.mjs FILE.wasm HOST PORT
// In a browser, the bytes would come from a WebSocket or WebTransport.
import { readFile } from "node:fs/promises";
import net from "node:net";

const [, , file, host, port] = process.argv;
const { instance } = await WebAssembly.instantiate(await readFile(file));
const math = instance.exports;
// Made anew for each access: memory that grows invalidates old views.
const bytes = (at, length) => new Uint8Array(math.memory.buffer, at, length);

const socket = net.connect(Number(port), host);
let received = new Uint8Array(0);

// Runs the session as far as the bytes in `received` allow.
function run() {
  for (;;) {
    switch (math.poll()) {
      case 0: {
        if (received.length === 0) return;
        const n = Math.min(received.length, math.recv_space_length());
        bytes(math.recv_space(), n).set(received.subarray(0, n));
        math.received(n);
        received = received.subarray(n);
        break;
      }
      case 1: {
        const n = math.transmit_length();
        // `write` keeps what it is given until it has been sent, so it gets a copy.
        socket.write(bytes(math.transmit(), n).slice());
        math.transmitted(n);
        break;
      }
      case 2:
        console.log(`${math.a() >>> 0} + ${math.b() >>> 0}`);
        break;
      case 3:
        console.log(new TextDecoder().decode(bytes(math.secret(), 8)));
        break;
      case 4:
        socket.end();
        return;
      default:
        console.error("the server broke the protocol, or its stream ended too early");
        process.exitCode = 1;
        socket.destroy();
        return;
    }
  }
}

socket.on("data", (data) => {
  received = Buffer.concat([received, data]);
  run();
});
socket.on("end", () => {
  math.ended(0);
  run();
});
socket.on("error", (error) => {
  console.error(error.message);
  math.ended(1);
  run();
});
