// Echo server in Java with a thread for each client: java echo_server_threads.java PORT

import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;

class EchoServer extends Thread {
    private final Socket socket;

    EchoServer(Socket socket) {
        this.socket = socket;
    }

    @Override
    public void run() {
        try (socket) {
            DataInputStream in = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
            DataOutputStream out = new DataOutputStream(new BufferedOutputStream(socket.getOutputStream()));
            while (true) {
                long length = Integer.toUnsignedLong(in.readInt());
                if (length > 100_000_000) {
                    System.err.println("A message of " + length + " bytes is too long");
                    return;
                }
                byte[] payload = new byte[(int) length];
                in.readFully(payload);
                String text = new String(payload, StandardCharsets.UTF_8);
                // A character is a code point, not a char of Java.
                int count = Math.min(10, text.codePointCount(0, text.length()));
                byte[] reply = text.substring(text.offsetByCodePoints(0, count)).getBytes(StandardCharsets.UTF_8);
                out.writeInt(reply.length);
                out.write(reply);
                out.flush();
            }
        } catch (EOFException e) {
            System.out.println("Client closed");
        } catch (IOException e) {
            System.out.println("Client lost: " + e.getMessage());
        }
    }

    public static void main(String[] args) throws IOException {
        try (ServerSocket server = new ServerSocket()) {
            server.setReuseAddress(true);
            server.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
            while (true) {
                new EchoServer(server.accept()).start();
            }
        }
    }
}
