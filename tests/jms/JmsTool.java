import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import javax.jms.BytesMessage;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.ObjectMessage;
import javax.jms.Session;
import javax.jms.StreamMessage;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.ActiveMQSession;

/**
 * A JMS producer and consumer as legacy systems have them, driven by lines on standard input and output.
 *
 * <pre>
 * JmsTool send  URL DESTINATION              one message per line of input; its JMSMessageID goes out when the broker has it
 * JmsTool drain URL DESTINATION MAX IDLE_MS  acknowledges one by one until MAX came or none came for IDLE_MS;
 *         [print]                            last line: drained COUNT NANOSECONDS (first to last message)
 * </pre>
 *
 * A line holds fields separated by tabs, a field words separated by spaces; names and values are base64 of UTF-8:
 * {@code kind text}, {@code body V}, {@code property NAME TYPE V}, {@code header NAME V}, {@code entry NAME TYPE V} (map),
 * {@code item TYPE V} (stream). A destination is a queue, or a topic when it starts with {@code topic://}. Login: the
 * environment variables JMS_USER and JMS_PASSWORD.
 */
public final class JmsTool {
    public static void main(String[] args) throws Exception {
        ActiveMQConnectionFactory factory =
            new ActiveMQConnectionFactory(System.getenv("JMS_USER"), System.getenv("JMS_PASSWORD"), args[1]);
        factory.setTrustedPackages(List.of("java.lang", "java.util"));
        Connection connection = factory.createConnection();
        try {
            connection.start();
            switch (args[0]) {
                case "send" -> send(connection, args[2]);
                case "drain" -> drain(connection, args[2], Long.parseLong(args[3]), Long.parseLong(args[4]),
                    args.length > 5 && args[5].equals("print"));
                default -> throw new IllegalArgumentException("send or drain, not " + args[0]);
            }
        } finally {
            connection.close();
        }
    }

    private static void send(Connection connection, String name) throws JMSException, IOException {
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer producer = session.createProducer(destination(session, name));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Line fields = new Line(line);
            Message message = fields.message(session);
            int mode = fields.value("delivery-mode", "persistent").equals("persistent")
                ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT;
            int priority = Integer.parseInt(fields.value("priority", String.valueOf(Message.DEFAULT_PRIORITY)));
            producer.send(message, mode, priority, Long.parseLong(fields.value("time-to-live", "0")));
            out.println(message.getJMSMessageID());
            out.flush();
        }
    }

    private static void drain(Connection connection, String name, long maximum, long idle, boolean print)
            throws JMSException {
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(destination(session, name));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        long count = 0;
        long first = 0;
        long last = 0;
        while (count < maximum) {
            Message message = consumer.receive(idle);
            if (message == null) {
                break;
            }
            message.acknowledge();
            last = System.nanoTime();
            if (count++ == 0) {
                first = last;
            }
            if (print) {
                out.println(Line.of(message));
            }
        }
        out.println("drained " + count + " " + (last - first));
        out.flush();
    }

    private static Destination destination(Session session, String name) throws JMSException {
        return name.startsWith("topic://")
            ? session.createTopic(name.substring("topic://".length()))
            : session.createQueue(name);
    }

    /** One message in its written form. */
    private static final class Line {
        private final List<String[]> fields = new ArrayList<>();

        Line(String text) {
            for (String field : text.split("\t")) {
                fields.add(field.split(" ", -1));
            }
        }

        /** The header of this name, or the default. */
        String value(String header, String otherwise) {
            for (String[] field : fields) {
                if (field[0].equals("header") && text(field[1]).equals(header)) {
                    return text(field[2]);
                }
            }
            return otherwise;
        }

        Message message(Session session) throws JMSException {
            Message message = empty(session);
            for (String[] field : fields) {
                switch (field[0]) {
                    case "property" -> message.setObjectProperty(text(field[1]), typed(field[2], field[3]));
                    case "entry" -> ((MapMessage) message).setObject(text(field[1]), typed(field[2], field[3]));
                    case "item" -> ((StreamMessage) message).writeObject(typed(field[1], field[2]));
                    case "header" -> setHeader(session, message, text(field[1]), text(field[2]));
                    case "kind", "body" -> { }
                    default -> throw new IllegalArgumentException("unknown field " + field[0]);
                }
            }
            return message;
        }

        private Message empty(Session session) throws JMSException {
            String kind = word("kind", "empty");
            String body = word("body", null);
            switch (kind) {
                case "text":
                    return body == null ? session.createTextMessage() : session.createTextMessage(text(body));
                case "bytes":
                    BytesMessage bytes = session.createBytesMessage();
                    bytes.writeBytes(Base64.getDecoder().decode(body));
                    return bytes;
                case "object":
                    return session.createObjectMessage(new ArrayList<>(Collections.singletonList(text(body))));
                case "map":
                    return session.createMapMessage();
                case "stream":
                    return session.createStreamMessage();
                case "empty":
                    return session.createMessage();
                default:
                    throw new IllegalArgumentException("unknown kind " + kind);
            }
        }

        private String word(String name, String otherwise) {
            for (String[] field : fields) {
                if (field[0].equals(name)) {
                    return field[1];
                }
            }
            return otherwise;
        }

        private static void setHeader(Session session, Message message, String name, String value) throws JMSException {
            switch (name) {
                case "correlation-id" -> message.setJMSCorrelationID(value);
                case "reply-to" -> message.setJMSReplyTo(destination(session, value));
                case "type" -> message.setJMSType(value);
                case "delivery-mode", "priority", "time-to-live" -> { } // arguments of MessageProducer.send
                default -> throw new IllegalArgumentException("unknown header " + name);
            }
        }

        static String of(Message message) throws JMSException {
            StringBuilder line = new StringBuilder();
            header(line, "message-id", message.getJMSMessageID());
            header(line, "destination", String.valueOf(message.getJMSDestination()));
            header(line, "correlation-id", message.getJMSCorrelationID());
            header(line, "type", message.getJMSType());
            header(line, "priority", String.valueOf(message.getJMSPriority()));
            header(line, "redelivered", String.valueOf(message.getJMSRedelivered()));
            for (Object name : Collections.list(message.getPropertyNames())) {
                line.append("\tproperty ").append(base64((String) name)).append(' ')
                    .append(typed(message.getObjectProperty((String) name)));
            }
            return body(line, message).toString();
        }

        private static StringBuilder body(StringBuilder line, Message message) throws JMSException {
            if (message instanceof TextMessage text) {
                line.append("\tkind text");
                return text.getText() == null ? line : line.append("\tbody ").append(base64(text.getText()));
            }
            if (message instanceof BytesMessage bytes) {
                byte[] content = new byte[(int) bytes.getBodyLength()];
                bytes.readBytes(content);
                return line.append("\tkind bytes\tbody ").append(Base64.getEncoder().encodeToString(content));
            }
            if (message instanceof MapMessage map) {
                line.append("\tkind map");
                for (Object name : Collections.list(map.getMapNames())) {
                    line.append("\tentry ").append(base64((String) name)).append(' ')
                        .append(typed(map.getObject((String) name)));
                }
                return line;
            }
            if (message instanceof ObjectMessage object) {
                Serializable content = object.getObject();
                return line.append("\tkind object\tbody ").append(base64(String.valueOf(content)));
            }
            return line.append(message instanceof StreamMessage ? "\tkind stream" : "\tkind empty");
        }

        private static void header(StringBuilder line, String name, String value) {
            if (value != null) {
                line.append(line.length() == 0 ? "" : "\t").append("header ").append(base64(name)).append(' ')
                    .append(base64(value));
            }
        }

        private static Object typed(String type, String value) {
            return switch (type) {
                case "string" -> text(value);
                case "boolean" -> Boolean.valueOf(text(value));
                case "byte" -> Byte.valueOf(text(value));
                case "short" -> Short.valueOf(text(value));
                case "int" -> Integer.valueOf(text(value));
                case "long" -> Long.valueOf(text(value));
                case "float" -> Float.valueOf(text(value));
                case "double" -> Double.valueOf(text(value));
                case "bytes" -> Base64.getDecoder().decode(value);
                default -> throw new IllegalArgumentException("unknown type " + type);
            };
        }

        private static String typed(Object value) {
            if (value instanceof byte[] bytes) {
                return "bytes " + Base64.getEncoder().encodeToString(bytes);
            }
            String type = value instanceof Integer ? "int" : value.getClass().getSimpleName().toLowerCase();
            return type + " " + base64(String.valueOf(value));
        }

        private static String text(String base64) {
            return new String(Base64.getDecoder().decode(base64), StandardCharsets.UTF_8);
        }

        private static String base64(String text) {
            return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
        }
    }
}
