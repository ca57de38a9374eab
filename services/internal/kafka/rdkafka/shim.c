#include "shim.h"

#include <stdlib.h>
#include <string.h>

// Written in Go: told of a rebalance inside sf_close, on the calling thread.
extern void sfRebalance(uintptr_t go);

static void put_text(char *out, size_t size, const char *text) {
  if (size == 0) return;
  strncpy(out, text ? text : "", size - 1);
  out[size - 1] = 0;
}

static void put_log(sf_handle *h, int level, int code, int fatal, const char *text) {
  pthread_mutex_lock(&h->lock);
  sf_log *l = &h->logs[h->logs_written++ % SF_LOGS];
  l->level = level;
  l->code = code;
  l->fatal = fatal;
  put_text(l->text, SF_TEXT, text);
  pthread_mutex_unlock(&h->lock);
}

int sf_logs(sf_handle *h, sf_log *out, int max, uint64_t *lost) {
  int n = 0;
  *lost = 0;
  pthread_mutex_lock(&h->lock);
  if (h->logs_written - h->logs_read > SF_LOGS) {
    *lost = h->logs_written - h->logs_read - SF_LOGS;
    h->logs_read += *lost;
  }
  while (n < max && h->logs_read < h->logs_written) out[n++] = h->logs[h->logs_read++ % SF_LOGS];
  pthread_mutex_unlock(&h->lock);
  return n;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
  sf_handle *h = rd_kafka_opaque(rk);
  (void)facility;
  put_log(h, level, 0, 0, text);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
  (void)rk;
  put_log(opaque, 3, code, code == RD_KAFKA_RESP_ERR__FATAL, reason);
}

int sf_fatal(sf_handle *h, char *text, size_t text_size) {
  char buffer[SF_TEXT] = "";
  int code = rd_kafka_fatal_error(h->rk, buffer, sizeof(buffer));
  put_text(text, text_size, buffer);
  return code;
}

// Lists of partitions, between librdkafka's form and ours.

static rd_kafka_topic_partition_list_t *list_of(const sf_partition *parts, size_t count) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
  for (size_t i = 0; i < count; i++) {
    rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(list, parts[i].topic, parts[i].partition);
    p->offset = parts[i].offset;
    if (parts[i].metadata) {
      // librdkafka frees it with the list.
      p->metadata = strdup(parts[i].metadata);
      p->metadata_size = strlen(parts[i].metadata);
    }
  }
  return list;
}

static void read_list(const rd_kafka_topic_partition_list_t *list, sf_partition *parts, size_t count, int metadata) {
  for (size_t i = 0; i < count; i++) {
    const rd_kafka_topic_partition_t *p =
        rd_kafka_topic_partition_list_find((rd_kafka_topic_partition_list_t *)list, parts[i].topic, parts[i].partition);
    if (!p) continue;
    parts[i].code = p->err;
    parts[i].offset = p->offset;
    if (metadata) {
      free(parts[i].metadata);
      parts[i].metadata = NULL;
      if (p->metadata) parts[i].metadata = strndup(p->metadata, p->metadata_size);
    }
  }
}

void sf_partitions_free(sf_partition *parts, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(parts[i].topic);
    free(parts[i].metadata);
  }
  free(parts);
}

static void forget_rebalance(sf_handle *h) {
  if (h->rebalance_parts) sf_partitions_free(h->rebalance_parts, h->rebalance_count);
  h->rebalance_code = 0;
  h->rebalance_parts = NULL;
  h->rebalance_count = 0;
}

// librdkafka calls this in the middle of gathering a batch, and filters records of a revoked partition out of what it
// gathered before only if the partition's own thread is quick enough. So the rebalance is written down, and carried out
// when the batch is complete and can be cleaned. There is never a second one meanwhile: librdkafka waits for the answer.
static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque) {
  sf_handle *h = opaque;
  (void)rk;
  size_t count = list ? (size_t)list->cnt : 0;
  sf_partition *parts = calloc(count ? count : 1, sizeof(*parts));
  for (size_t i = 0; i < count; i++) {
    parts[i].topic = strdup(list->elems[i].topic);
    parts[i].partition = list->elems[i].partition;
    parts[i].offset = list->elems[i].offset;
  }
  forget_rebalance(h);
  h->rebalance_code = code;
  h->rebalance_parts = parts;
  h->rebalance_count = count;
  // Closing gathers nothing, and waits for the answer inside this call.
  if (h->closing) sfRebalance(h->go);
}

int sf_rebalance(sf_handle *h, sf_partition **parts, size_t *count) {
  int code = h->rebalance_code;
  *parts = h->rebalance_parts;
  *count = h->rebalance_count;
  h->rebalance_code = 0;
  h->rebalance_parts = NULL;
  h->rebalance_count = 0;
  return code;
}

static void free_handle(sf_handle *h) {
  forget_rebalance(h);
  for (int32_t i = 0; i < h->topic_count; i++) free(h->topics[i]);
  free(h->topics);
  free(h->messages);
  free(h->sizes);
  pthread_mutex_destroy(&h->lock);
  free(h);
}

static rd_kafka_conf_t *configure(sf_handle *h, int consumer, const char *const *options, size_t option_count,
                                  int deliveries, char *text, size_t text_size) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  for (size_t i = 0; i < option_count; i++) {
    if (rd_kafka_conf_set(conf, options[2 * i], options[2 * i + 1], text, text_size) != RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      return NULL;
    }
  }
  rd_kafka_conf_set_opaque(conf, h);
  rd_kafka_conf_set_log_cb(conf, on_log);
  rd_kafka_conf_set_error_cb(conf, on_error);
  if (consumer) rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
  if (deliveries) rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
  return conf;
}

sf_handle *sf_open(int consumer, const char *const *options, size_t option_count, uintptr_t go, int deliveries,
                   size_t batch, char *text, size_t text_size) {
  sf_handle *h = calloc(1, sizeof(*h));
  h->go = go;
  h->capacity = batch;
  pthread_mutex_init(&h->lock, NULL);
  rd_kafka_conf_t *conf = configure(h, consumer, options, option_count, deliveries, text, text_size);
  if (!conf) {
    free_handle(h);
    return NULL;
  }
  h->rk = rd_kafka_new(consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, text, text_size);
  if (!h->rk) {
    rd_kafka_conf_destroy(conf);
    free_handle(h);
    return NULL;
  }
  if (consumer) {
    h->messages = calloc(batch, sizeof(*h->messages));
    h->sizes = calloc(batch, sizeof(*h->sizes));
    rd_kafka_poll_set_consumer(h->rk);
    h->queue = rd_kafka_queue_get_consumer(h->rk);
  } else {
    h->queue = rd_kafka_queue_get_main(h->rk);
  }
  return h;
}

// Ends the messages that were kept for their headers.
static void release(sf_handle *h) {
  for (size_t i = 0; i < h->kept; i++) rd_kafka_message_destroy(h->messages[i]);
  h->kept = 0;
}

static void discard(sf_handle *h) {
  release(h);
  for (; h->next < h->have; h->next++) rd_kafka_message_destroy(h->messages[h->next]);
  h->have = h->next = 0;
}

int sf_close(sf_handle *h) {
  discard(h);
  h->closing = 1;
  return rd_kafka_consumer_close(h->rk);
}

void sf_destroy(sf_handle *h, int hurry) {
  discard(h);
  if (h->event) rd_kafka_event_destroy(h->event);
  free(h->delivered);
  rd_kafka_queue_destroy(h->queue);
  if (hurry)
    rd_kafka_destroy_flags(h->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  else
    rd_kafka_destroy(h->rk);
  free_handle(h);
}

int sf_subscribe(sf_handle *h, const char *const *topics, size_t count) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
  for (size_t i = 0; i < count; i++) rd_kafka_topic_partition_list_add(list, topics[i], RD_KAFKA_PARTITION_UA);
  int code = rd_kafka_subscribe(h->rk, list);
  rd_kafka_topic_partition_list_destroy(list);
  return code;
}

static int take_error(rd_kafka_error_t *e) {
  if (!e) return 0;
  int code = rd_kafka_error_code(e);
  rd_kafka_error_destroy(e);
  return code;
}

// how: 0 replaces the assignment, 1 adds to it, -1 takes from it.
int sf_assign(sf_handle *h, sf_partition *parts, size_t count, int how) {
  rd_kafka_topic_partition_list_t *list = list_of(parts, count);
  int code;
  if (how > 0)
    code = take_error(rd_kafka_incremental_assign(h->rk, list));
  else if (how < 0)
    code = take_error(rd_kafka_incremental_unassign(h->rk, list));
  else
    code = rd_kafka_assign(h->rk, count ? list : NULL);
  rd_kafka_topic_partition_list_destroy(list);
  return code;
}

int sf_lost(sf_handle *h) { return rd_kafka_assignment_lost(h->rk); }

int sf_cooperative(sf_handle *h) {
  const char *protocol = rd_kafka_rebalance_protocol(h->rk);
  return protocol && strcmp(protocol, "COOPERATIVE") == 0;
}

// The size of a message's headers in our form: for each u32 name length, name, i32 value length, value.
static uint64_t headers_size(rd_kafka_headers_t *headers) {
  uint64_t size = 0;
  const char *name;
  const void *value;
  size_t value_size;
  for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &value_size); i++)
    size += 8 + strlen(name) + (value ? value_size : 0);
  return size;
}

static uint64_t message_size(rd_kafka_message_t *m, int headers) {
  uint64_t size = (m->key ? m->key_len : 0) + (m->payload ? m->len : 0);
  rd_kafka_headers_t *list;
  if (headers == SF_HEADERS_COPY && !m->err && !rd_kafka_message_headers(m, &list)) size += headers_size(list);
  return size;
}

int64_t sf_gathered(sf_handle *h, uint64_t *bytes) {
  *bytes = 0;
  for (size_t i = h->next; i < h->have; i++) *bytes += h->sizes[i];
  return (int64_t)(h->have - h->next);
}

int64_t sf_gather(sf_handle *h, int timeout_ms, int headers, uint64_t *bytes) {
  if (h->next == h->have) {
    release(h);
    h->next = h->have = 0;
    ssize_t n = rd_kafka_consume_batch_queue(h->queue, timeout_ms, h->messages, h->capacity);
    if (n < 0) return -(int64_t)rd_kafka_last_error();
    h->have = (size_t)n;
    // A topic's handle may be freed and its address used again between two batches.
    h->last_topic = NULL;
    for (size_t i = 0; i < h->have; i++) h->sizes[i] = message_size(h->messages[i], headers);
  }
  return sf_gathered(h, bytes);
}

static int32_t topic_number(sf_handle *h, rd_kafka_topic_t *topic) {
  if (!topic) return -1;
  if (topic == h->last_topic) return h->last_topic_number;
  const char *name = rd_kafka_topic_name(topic);
  int32_t i = 0;
  while (i < h->topic_count && strcmp(h->topics[i], name) != 0) i++;
  if (i == h->topic_count) {
    h->topics = realloc(h->topics, (size_t)(h->topic_count + 1) * sizeof(*h->topics));
    h->topics[h->topic_count++] = strdup(name);
  }
  h->last_topic = topic;
  h->last_topic_number = i;
  return i;
}

const char *sf_topic(sf_handle *h, int32_t number) { return h->topics[number]; }

static char *put_int(char *to, int32_t n) {
  memcpy(to, &n, 4);
  return to + 4;
}

static char *copy_headers(char *to, rd_kafka_headers_t *headers) {
  const char *name;
  const void *value;
  size_t value_size;
  for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &value_size); i++) {
    size_t name_size = strlen(name);
    to = put_int(to, (int32_t)name_size);
    memcpy(to, name, name_size);
    to = put_int(to + name_size, value ? (int32_t)value_size : -1);
    if (value) {
      memcpy(to, value, value_size);
      to += value_size;
    }
  }
  return to;
}

static char *copy_message(sf_handle *h, rd_kafka_message_t *m, int headers, char *to, sf_record *r) {
  char *from = to;
  rd_kafka_timestamp_type_t type;
  rd_kafka_headers_t *list;
  r->offset = m->offset;
  r->partition = m->partition;
  r->code = m->err;
  r->topic = topic_number(h, m->rkt);
  r->timestamp = m->err ? -1 : rd_kafka_message_timestamp(m, &type);
  r->key_len = m->key ? (int32_t)m->key_len : -1;
  r->value_len = m->payload ? (int32_t)m->len : -1;
  if (r->key_len > 0) memcpy(to, m->key, m->key_len), to += m->key_len;
  if (r->value_len > 0) memcpy(to, m->payload, m->len), to += m->len;
  r->headers_len = 0;
  if (headers == SF_HEADERS_COPY && !m->err && !rd_kafka_message_headers(m, &list)) {
    char *begin = to;
    to = copy_headers(to, list);
    r->headers_len = (int32_t)(to - begin);
  }
  (void)from;
  return to;
}

int64_t sf_copy(sf_handle *h, int headers, char *arena, uint64_t arena_size, sf_record *records, int64_t max) {
  int64_t n = 0;
  char *to = arena;
  while (h->next < h->have && n < max) {
    rd_kafka_message_t *m = h->messages[h->next];
    if ((uint64_t)(to - arena) + h->sizes[h->next] > arena_size) break;
    records[n].position = (uint64_t)(to - arena);
    to = copy_message(h, m, headers, to, &records[n]);
    records[n].message = (int32_t)h->next;
    h->next++;
    if (headers == SF_HEADERS_LATER)
      h->kept = h->next;
    else
      rd_kafka_message_destroy(m);
    n++;
  }
  return n;
}

uint64_t sf_headers(sf_handle *h, int32_t message, char *to, uint64_t size) {
  rd_kafka_headers_t *list;
  if (message < 0 || (size_t)message >= h->kept || rd_kafka_message_headers(h->messages[message], &list)) return 0;
  uint64_t needed = headers_size(list);
  if (needed <= size) copy_headers(to, list);
  return needed;
}

// Forgets the gathered records of one partition, which is about to be sought or belongs to somebody else.
void sf_drop(sf_handle *h, const char *topic, int32_t partition) {
  size_t kept = h->next;
  for (size_t i = h->next; i < h->have; i++) {
    rd_kafka_message_t *m = h->messages[i];
    if (!m->err && m->rkt && m->partition == partition && strcmp(rd_kafka_topic_name(m->rkt), topic) == 0)
      rd_kafka_message_destroy(m);
    else {
      h->sizes[kept] = h->sizes[i];
      h->messages[kept++] = m;
    }
  }
  h->have = kept;
}

int sf_commit(sf_handle *h, sf_partition *parts, size_t count) {
  rd_kafka_topic_partition_list_t *list = list_of(parts, count);
  int code = rd_kafka_commit(h->rk, list, 0);
  read_list(list, parts, count, 0);
  rd_kafka_topic_partition_list_destroy(list);
  return code;
}

int sf_committed(sf_handle *h, sf_partition *parts, size_t count, int timeout_ms) {
  rd_kafka_topic_partition_list_t *list = list_of(parts, count);
  int code = rd_kafka_committed(h->rk, list, timeout_ms);
  if (!code) read_list(list, parts, count, 1);
  rd_kafka_topic_partition_list_destroy(list);
  return code;
}

int sf_pause(sf_handle *h, sf_partition *parts, size_t count, int resume) {
  rd_kafka_topic_partition_list_t *list = list_of(parts, count);
  int code = resume ? rd_kafka_resume_partitions(h->rk, list) : rd_kafka_pause_partitions(h->rk, list);
  read_list(list, parts, count, 0);
  rd_kafka_topic_partition_list_destroy(list);
  return code;
}

int sf_seek(sf_handle *h, sf_partition *parts, size_t count, int timeout_ms) {
  for (size_t i = 0; i < count; i++) sf_drop(h, parts[i].topic, parts[i].partition);
  rd_kafka_topic_partition_list_t *list = list_of(parts, count);
  int code = take_error(rd_kafka_seek_partitions(h->rk, list, timeout_ms));
  if (!code) read_list(list, parts, count, 0);
  rd_kafka_topic_partition_list_destroy(list);
  return code;
}

int sf_watermarks(sf_handle *h, const char *topic, int32_t partition, int64_t *low, int64_t *high, int timeout_ms) {
  return rd_kafka_query_watermark_offsets(h->rk, topic, partition, low, high, timeout_ms);
}

// Producing.

rd_kafka_topic_t *sf_topic_handle(sf_handle *h, const char *topic) { return rd_kafka_topic_new(h->rk, topic, NULL); }

static rd_kafka_headers_t *parse_headers(const char *from, int64_t size) {
  const char *end = from + size;
  rd_kafka_headers_t *list = rd_kafka_headers_new(4);
  while (from < end) {
    int32_t name_size, value_size;
    memcpy(&name_size, from, 4);
    const char *name = from + 4;
    memcpy(&value_size, name + name_size, 4);
    const char *value = name + name_size + 4;
    rd_kafka_header_add(list, name, name_size, value_size < 0 ? NULL : value, value_size < 0 ? 0 : value_size);
    from = value + (value_size < 0 ? 0 : value_size);
  }
  return list;
}

int sf_produce(sf_handle *h, rd_kafka_topic_t *topic, int32_t partition, const char *key, int64_t key_len,
               const char *value, int64_t value_len, int64_t timestamp, const char *headers, int64_t headers_len,
               uint64_t opaque) {
  rd_kafka_headers_t *list = headers_len > 0 ? parse_headers(headers, headers_len) : NULL;
  rd_kafka_vu_t vu[8] = {
      {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
      {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
      {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
      {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(key_len < 0 ? NULL : key_len == 0 ? "" : key), key_len < 0 ? 0 : (size_t)key_len}},
      {.vtype = RD_KAFKA_VTYPE_VALUE,
       .u.mem = {(void *)(value_len < 0 ? NULL : value_len == 0 ? "" : value), value_len < 0 ? 0 : (size_t)value_len}},
      {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp},
      {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)opaque},
      {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = list},
  };
  int code = take_error(rd_kafka_produceva(h->rk, vu, list ? 8 : 7));
  // On success the message owns the headers.
  if (code && list) rd_kafka_headers_destroy(list);
  return code;
}

static int next_event(sf_handle *h, int timeout_ms) {
  rd_kafka_event_t *event = rd_kafka_queue_poll(h->queue, timeout_ms);
  if (!event) return 0;
  if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_DR) {
    rd_kafka_event_destroy(event);
    return 1;
  }
  size_t count = rd_kafka_event_message_count(event);
  free(h->delivered);
  h->delivered = calloc(count ? count : 1, sizeof(*h->delivered));
  h->delivered_have = rd_kafka_event_message_array(event, h->delivered, count);
  h->delivered_next = 0;
  h->event = event;
  return 1;
}

int sf_deliveries(sf_handle *h, int timeout_ms, sf_delivery *out, int max) {
  int n = 0;
  while (n < max) {
    if (!h->event && !next_event(h, n ? 0 : timeout_ms)) break;
    if (!h->event) continue;
    for (; n < max && h->delivered_next < h->delivered_have; h->delivered_next++, n++) {
      const rd_kafka_message_t *m = h->delivered[h->delivered_next];
      out[n].opaque = (uint64_t)(uintptr_t)m->_private;
      out[n].offset = m->offset;
      out[n].partition = m->partition;
      out[n].code = m->err;
    }
    if (h->delivered_next == h->delivered_have) {
      rd_kafka_event_destroy(h->event);
      h->event = NULL;
    }
  }
  return n;
}

int sf_flush(sf_handle *h, int timeout_ms) { return rd_kafka_flush(h->rk, timeout_ms); }
int sf_queued(sf_handle *h) { return rd_kafka_outq_len(h->rk); }
void sf_purge(sf_handle *h) { rd_kafka_purge(h->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT); }
void sf_serve(sf_handle *h, int timeout_ms) { rd_kafka_poll(h->rk, timeout_ms); }

// Transactions.

static void put_error(rd_kafka_error_t *from, sf_error *e) {
  memset(e, 0, sizeof(*e));
  if (!from) return;
  e->code = rd_kafka_error_code(from);
  e->fatal = rd_kafka_error_is_fatal(from);
  e->retriable = rd_kafka_error_is_retriable(from);
  e->abortable = rd_kafka_error_txn_requires_abort(from);
  put_text(e->text, SF_TEXT, rd_kafka_error_string(from));
  rd_kafka_error_destroy(from);
}

int sf_metadata(sf_handle *h, int timeout_ms) {
  const struct rd_kafka_metadata *brokers = NULL;
  int code = rd_kafka_metadata(h->rk, 0, NULL, &brokers, timeout_ms);
  if (brokers) rd_kafka_metadata_destroy(brokers);
  return code;
}

void sf_txn_init(sf_handle *h, int timeout_ms, sf_error *e) { put_error(rd_kafka_init_transactions(h->rk, timeout_ms), e); }
void sf_txn_begin(sf_handle *h, sf_error *e) { put_error(rd_kafka_begin_transaction(h->rk), e); }

void sf_txn_offsets(sf_handle *h, sf_handle *consumer, sf_partition *parts, size_t count, int timeout_ms, sf_error *e) {
  rd_kafka_topic_partition_list_t *list = list_of(parts, count);
  rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(consumer->rk);
  const char *member = group ? rd_kafka_consumer_group_metadata_member_id(group) : NULL;
  if (!member || !*member) {
    // Brokers take offsets without a member id from anybody: between its expulsion and its next joining, a consumer would
    // commit unfenced.
    memset(e, 0, sizeof(*e));
    e->code = RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    e->abortable = 1;
    put_text(e->text, SF_TEXT, "the consumer is no member of its group now");
  } else {
    put_error(rd_kafka_send_offsets_to_transaction(h->rk, list, group, timeout_ms), e);
  }
  if (group) rd_kafka_consumer_group_metadata_destroy(group);
  rd_kafka_topic_partition_list_destroy(list);
}

void sf_txn_commit(sf_handle *h, int timeout_ms, sf_error *e) { put_error(rd_kafka_commit_transaction(h->rk, timeout_ms), e); }
void sf_txn_abort(sf_handle *h, int timeout_ms, sf_error *e) { put_error(rd_kafka_abort_transaction(h->rk, timeout_ms), e); }
