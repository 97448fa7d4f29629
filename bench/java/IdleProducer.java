import java.time.Instant;
import java.time.temporal.ChronoUnit;

import javax.jms.Session;

import org.apache.activemq.ActiveMQConnectionFactory;

/**
 * Sends single persistent messages to an idle queue; the body is the moment before the send, in microseconds since 1970.
 *
 * <p>Arguments: broker URL, queue, how many, milliseconds between them; login from JMS_USER and JMS_PASSWORD.
 */
public final class IdleProducer {
    private IdleProducer() {
    }

    /** Sends, then ends. */
    public static void main(String[] arguments) throws Exception {
        var factory = new ActiveMQConnectionFactory(System.getenv("JMS_USER"), System.getenv("JMS_PASSWORD"), arguments[0]);
        var connection = factory.createConnection();
        connection.start();
        var session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        var producer = session.createProducer(session.createQueue(arguments[1]));
        for (int sent = 0; sent < Integer.parseInt(arguments[2]); sent++) {
            Thread.sleep(Integer.parseInt(arguments[3]));
            long now = ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now());
            producer.send(session.createTextMessage(Long.toString(now)));
        }
        connection.close();
    }
}
