// Math server in Java: java math_server_streams.java PORT

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.InetSocketAddress;
import java.util.Random;

class MathServer {
    static final Random RANDOM = new Random();

    static void quiz(Socket client) throws IOException {
        DataInputStream in = new DataInputStream(client.getInputStream());
        DataOutputStream out = new DataOutputStream(client.getOutputStream());
        int questions = 3 + RANDOM.nextInt(5);
        for (int i = 0; i < questions; i++) {
            int a = RANDOM.nextInt(1_000_000);
            int b = RANDOM.nextInt(1_000_000);
            out.writeByte('Q');
            out.writeInt(a);
            out.writeInt(b);
            out.flush();
            if (in.readInt() != a + b) {
                System.out.println("Wrong answer from " + client);
                return;
            }
        }
        out.writeBytes("SJava1234");
        out.flush();
    }

    public static void main(String[] args) throws IOException {
        ServerSocket server = new ServerSocket();
        server.setReuseAddress(true);
        server.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(args[0])));
        System.out.println("Math server on " + server.getLocalSocketAddress());
        while (true) {
            try (Socket client = server.accept()) {
                quiz(client);
            } catch (IOException e) {
                System.out.println("Client lost: " + e.getMessage());
            }
        }
    }
}
