import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import software.amazon.event.ruler.Machine;

/**
 * AWS's event-ruler over standard input and output, one line of JSON per rule or event. Requests:
 *
 * <pre>
 * rules N         then N rules   -> N lines: "ok", or "refused: reason"; the rule's name is its number from 0
 * match N         then N events  -> N lines: the names of the matching rules, ascending, or "failed: reason"
 * events N        then N events  -> "ok"; they are parsed and kept for `time`
 * time FROM TO                   -> CPU nanoseconds of this thread and matches, over the kept events FROM to TO
 * </pre>
 */
@SuppressWarnings("deprecation")
public final class EventRuler {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    private final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private final BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
    private final List<JsonNode> events = new ArrayList<>();
    private Machine machine = new Machine();

    public static void main(String[] arguments) throws IOException {
        new EventRuler().serve();
    }

    private void serve() throws IOException {
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            int number = Integer.parseInt(words[1]);
            switch (words[0]) {
                case "rules" -> rules(number);
                case "match" -> match(number);
                case "events" -> events(number);
                case "time" -> time(number, Integer.parseInt(words[2]));
                default -> throw new IOException("unknown request " + line);
            }
            out.flush();
        }
    }

    private void rules(int count) throws IOException {
        machine = new Machine();
        for (int number = 0; number < count; number++) {
            String rule = in.readLine();
            try {
                machine.addRule(Integer.toString(number), rule);
                answer("ok");
            } catch (Exception error) {
                answer("refused: " + firstLine(error));
            }
        }
    }

    private void match(int count) throws IOException {
        for (int number = 0; number < count; number++) {
            String event = in.readLine();
            try {
                TreeSet<Integer> names = new TreeSet<>();
                machine.rulesForJSONEvent(event).forEach(name -> names.add(Integer.valueOf(name)));
                StringBuilder line = new StringBuilder();
                names.forEach(name -> line.append(line.isEmpty() ? "" : " ").append(name));
                answer(line.toString());
            } catch (Exception error) {
                answer("failed: " + firstLine(error));
            }
        }
    }

    private void events(int count) throws IOException {
        events.clear();
        for (int number = 0; number < count; number++) {
            events.add(JSON.readTree(in.readLine()));
        }
        answer("ok");
    }

    private void time(int from, int to) throws IOException {
        long matches = 0;
        long started = THREADS.getCurrentThreadCpuTime();
        for (JsonNode event : events.subList(from, to)) {
            matches += machine.rulesForJSONEvent(event).size();
        }
        answer(THREADS.getCurrentThreadCpuTime() - started + " " + matches);
    }

    private static String firstLine(Exception error) {
        return String.valueOf(error.getMessage()).split("\n")[0];
    }

    private void answer(String line) throws IOException {
        out.write(line);
        out.write('\n');
    }
}
