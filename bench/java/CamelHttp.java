import java.io.BufferedReader;
import java.io.InputStreamReader;

import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.jms.JmsComponent;
import org.apache.camel.impl.DefaultCamelContext;

/**
 * The peer of drain_vs_camel: a Camel route from a queue to an HTTP endpoint, as its users write it.
 *
 * <p>Arguments: broker URL, HTTP URL, concurrent consumers; login from JMS_USER and JMS_PASSWORD. Each line on standard
 * input is a queue: the route before it is removed, one from this queue is started. A message is acknowledged after
 * the endpoint has answered with success (CLIENT_ACKNOWLEDGE), its JMS message id is the idempotency key.
 */
public final class CamelHttp {
    private CamelHttp() {
    }

    /** Runs until standard input ends. */
    public static void main(String[] arguments) throws Exception {
        String endpoint = arguments[1];
        int consumers = Integer.parseInt(arguments[2]);
        var factory = new ActiveMQConnectionFactory(System.getenv("JMS_USER"), System.getenv("JMS_PASSWORD"), arguments[0]);
        var context = new DefaultCamelContext();
        context.addComponent("jms", JmsComponent.jmsComponentClientAcknowledge(factory));
        context.start();
        System.out.println("ready");
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String queue = lines.readLine(); queue != null; queue = lines.readLine()) {
            for (var route : context.getRoutes()) {
                context.getRouteController().stopRoute(route.getId());
                context.removeRoute(route.getId());
            }
            context.addRoutes(route(queue, endpoint, consumers));
        }
        context.stop();
    }

    private static RouteBuilder route(String queue, String endpoint, int consumers) {
        return new RouteBuilder() {
            @Override
            public void configure() {
                errorHandler(noErrorHandler());
                from("jms:queue:" + queue + "?concurrentConsumers=" + consumers)
                    .routeId(queue)
                    .setHeader("Idempotency-Key", header("JMSMessageID"))
                    .to(endpoint);
            }
        };
    }
}
