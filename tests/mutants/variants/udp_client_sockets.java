// Client in Java with DatagramSocket, which gives up after three seconds.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;

class UdpClient {
    public static void main(String[] args) throws Exception {
        InetAddress host = InetAddress.getByName(args[0]);
        int port = Integer.parseInt(args[1]);
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (DatagramSocket socket = new DatagramSocket()) {
            socket.setSoTimeout(3000);
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                byte[] bytes = line.getBytes(StandardCharsets.UTF_8);
                socket.send(new DatagramPacket(bytes, bytes.length, host, port));
                DatagramPacket reply = new DatagramPacket(new byte[4096], 4096);
                socket.receive(reply);
                out.println(new String(reply.getData(), 0, reply.getLength(), StandardCharsets.UTF_8));
            }
        } catch (SocketTimeoutException e) {
            System.err.println("no reply");
            System.exit(1);
        }
    }
}
