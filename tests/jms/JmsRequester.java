import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import javax.jms.BytesMessage;
import javax.jms.Connection;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnectionFactory;

/**
 * A JMS client that asks and waits for the answer on a temporary queue: {@code JmsRequester URL QUEUE TIMEOUT_MS}.
 *
 * <p>Every line of input is the base64 of a text to send, with the correlation id {@code c-LINE}. All are sent first; then a
 * line goes out for each answer within the time: correlation id, class ({@code text} or {@code bytes}), the string property
 * {@code status}, and the base64 of the body, separated by spaces. With a time-out of 0 it leaves at once, and its queue with
 * it. Login: the environment variables JMS_USER and JMS_PASSWORD.
 */
public final class JmsRequester {
    public static void main(String[] args) throws Exception {
        ActiveMQConnectionFactory factory =
            new ActiveMQConnectionFactory(System.getenv("JMS_USER"), System.getenv("JMS_PASSWORD"), args[0]);
        Connection connection = factory.createConnection();
        try {
            connection.start();
            Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            TemporaryQueue answers = session.createTemporaryQueue();
            int asked = ask(session, args[1], answers);
            long timeout = Long.parseLong(args[2]);
            if (timeout > 0) {
                print(session.createConsumer(answers), asked, timeout);
            }
        } finally {
            connection.close();
        }
    }

    private static int ask(Session session, String queue, TemporaryQueue answers) throws Exception {
        MessageProducer producer = session.createProducer(session.createQueue(queue));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        int asked = 0;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            TextMessage message = session.createTextMessage(
                new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8));
            message.setJMSReplyTo(answers);
            message.setJMSCorrelationID("c-" + asked++);
            producer.send(message);
        }
        return asked;
    }

    private static void print(MessageConsumer consumer, int asked, long timeout) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (int count = 0; count < asked; count++) {
            Message answer = consumer.receive(timeout);
            if (answer == null) {
                return;
            }
            boolean isText = answer instanceof TextMessage;
            out.println(answer.getJMSCorrelationID() + (isText ? " text " : " bytes ")
                + answer.getStringProperty("status") + " " + Base64.getEncoder().encodeToString(body(answer)));
        }
    }

    private static byte[] body(Message message) throws Exception {
        if (message instanceof TextMessage text) {
            return text.getText().getBytes(StandardCharsets.UTF_8);
        }
        BytesMessage bytes = (BytesMessage) message;
        byte[] content = new byte[(int) bytes.getBodyLength()];
        bytes.readBytes(content);
        return content;
    }
}
