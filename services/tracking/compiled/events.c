#include "events.h"

/* The limits of event.py. */
#define MAX_MESSAGE_ID 100
#define MAX_TEXT 512
#define LATEST_SECONDS 4102444800ull
#define SECOND_NANOS 1000000000ull

#define TEXT(field) ((field) << 3 | 2) /* the tag of a length-delimited field */
#define NUMBER(field) ((field) << 3)   /* that of a varint */

/* A number of at most 35 bits, which is more than any field here may have. */
static int take_number(Bytes *rest, uint64_t *number)
{
    *number = 0;
    for (int shift = 0; shift < 35 && rest->at < rest->end; shift += 7) {
        uint8_t octet = *rest->at++;
        *number |= (uint64_t)(octet & 0x7F) << shift;
        if (octet < 0x80)
            return 1;
    }
    return 0;
}

static int take_delimited(Bytes *rest, Bytes *content)
{
    uint64_t length;
    if (!take_number(rest, &length) || length > (uint64_t)(rest->end - rest->at))
        return 0;
    content->at = rest->at;
    content->end = rest->at += length;
    return 1;
}

int take_event(Bytes *rest, Bytes *body)
{
    return rest->at < rest->end && *rest->at++ == TEXT(1) && take_delimited(rest, body);
}

static int take_text(Bytes *rest, Bytes *text)
{
    if (!take_delimited(rest, text) || size_of(*text) > MAX_TEXT)
        return 0;
    uint8_t seen = 0;
    for (const uint8_t *at = text->at; at < text->end; at++)
        seen |= *at;
    return seen < 0x80;
}

/* A google.protobuf.Timestamp between 1970 and 2100. */
static int take_moment(Bytes *rest, uint64_t *seconds)
{
    Bytes moment;
    uint64_t nanos = 0;
    if (!take_delimited(rest, &moment))
        return 0;
    if (moment.at < moment.end && *moment.at == NUMBER(1)) {
        moment.at++;
        if (!take_number(&moment, seconds))
            return 0;
    }
    if (moment.at < moment.end && *moment.at == NUMBER(2)) {
        moment.at++;
        if (!take_number(&moment, &nanos))
            return 0;
    }
    return moment.at == moment.end && *seconds < LATEST_SECONDS && nanos < SECOND_NANOS;
}

int is_plain(Bytes body, Event *event)
{
    uint8_t last = 0;
    memset(event, 0, sizeof *event);
    while (body.at < body.end) {
        Bytes ignored;
        uint8_t tag = *body.at++;
        int taken = 0;
        if (tag <= last)
            return 0;
        switch (last = tag) {
        case TEXT(1): taken = take_text(&body, &event->texts[PROGRAM_ID]); break;
        case TEXT(2): taken = take_text(&body, &event->texts[CHECKSUM]); break;
        case TEXT(4): taken = take_text(&body, &event->texts[USER_AGENT]); break;
        case TEXT(8): taken = take_text(&body, &event->texts[MESSAGE_ID]); break;
        case TEXT(9): taken = take_moment(&body, &event->seconds); break;
        case NUMBER(10): /* event_type: any value of one byte */
            taken = body.at < body.end && *body.at++ < 0x80;
            break;
        case TEXT(11): /* cookie_id */
        case TEXT(12): /* click_id */
        case TEXT(13): /* transaction_id */
            taken = take_text(&body, &ignored);
        }
        if (!taken)
            return 0;
    }
    Py_ssize_t size = size_of(event->texts[MESSAGE_ID]);
    return 0 < size && size <= MAX_MESSAGE_ID;
}
