import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Chat client with readLine(), which returns the text before the end of the stream as a line too. */
class ChatClient {
    static boolean hasBye(String line) {
        return Arrays.asList(line.toUpperCase().split("\\W+")).contains("BYE");
    }

    public static void main(String[] args) {
        try (Socket socket = new Socket(args[0], Integer.parseInt(args[1]))) {
            var in = new BufferedReader(
                new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
            var keyboard = new BufferedReader(
                new InputStreamReader(System.in, StandardCharsets.UTF_8));
            var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
            while (true) {
                String line = in.readLine();
                if (line == null) {
                    break;
                }
                out.println(line);
                if (hasBye(line)) {
                    break;
                }
                String typed = keyboard.readLine();
                if (typed == null) {
                    break;
                }
                socket.getOutputStream().write((typed + "\n").getBytes(StandardCharsets.UTF_8));
                if (hasBye(typed)) {
                    break;
                }
            }
        } catch (IOException e) {
            System.out.println("connection lost: " + e.getMessage());
        }
    }
}
