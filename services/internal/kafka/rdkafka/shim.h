// A thin layer over librdkafka's public API. It does what costs too much, or cannot be done, through the Go client:
// batches of records in one call, transactions with offsets and metadata, deliveries in arrays.
// A handle is used by one thread at a time, but for sf_produce, sf_deliveries, sf_flush and sf_logs.
#ifndef STREAMFORGE_SHIM_H
#define STREAMFORGE_SHIM_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "rdkafka.h"

#define SF_TEXT 512
#define SF_LOGS 64

// What is done with headers: to parse and copy them costs more than the rest of a small record.
#define SF_HEADERS_NONE 0
#define SF_HEADERS_COPY 1
#define SF_HEADERS_LATER 2 // asked for with sf_headers, until the next batch call

// A log line or an error that librdkafka told in passing. code is 0 for a log line.
typedef struct {
  int32_t level, code, fatal;
  char text[SF_TEXT];
} sf_log;

// What a call answered. code 0 is success.
typedef struct {
  int32_t code, fatal, retriable, abortable;
  char text[SF_TEXT];
} sf_error;

// One record of a batch: where it stands in the arena. Lengths of -1 are NULL.
typedef struct {
  int64_t offset, timestamp;
  uint64_t position; // of the key; the value follows, then the headers
  int32_t topic, partition, key_len, value_len, headers_len, code;
  int32_t message; // for sf_headers
} sf_record;

// A partition with an offset and metadata, in and out.
typedef struct {
  char *topic;
  char *metadata; // malloc'ed by whoever fills it; freed by sf_partitions_free
  int64_t offset;
  int32_t partition, code;
} sf_partition;

typedef struct {
  uint64_t opaque;
  int64_t offset;
  int32_t partition, code;
} sf_delivery;

typedef struct {
  rd_kafka_t *rk;
  rd_kafka_queue_t *queue;
  uintptr_t go; // the Go side's handle, for a rebalance while closing
  // Messages of the last batch call that have not been copied out yet: [next, have). Those before are kept, with SF_HEADERS_LATER,
  // until the next batch call.
  rd_kafka_message_t **messages;
  uint64_t *sizes; // of each message in the arena, counted once
  size_t capacity, have, next, kept;
  // A rebalance that the last batch call brought and that is not carried out yet; code 0 is none.
  int rebalance_code, closing;
  sf_partition *rebalance_parts;
  size_t rebalance_count;
  // Names of the topics seen, by number.
  char **topics;
  int32_t topic_count;
  rd_kafka_topic_t *last_topic;
  int32_t last_topic_number;
  // Deliveries of an event that did not fit the caller's array.
  rd_kafka_event_t *event;
  const rd_kafka_message_t **delivered;
  size_t delivered_have, delivered_next;
  // A ring of what librdkafka told; the oldest are overwritten and counted.
  pthread_mutex_t lock;
  sf_log logs[SF_LOGS];
  uint64_t logs_written, logs_read;
} sf_handle;

sf_handle *sf_open(int consumer, const char *const *options, size_t option_count, uintptr_t go, int deliveries,
                   size_t batch, char *text, size_t text_size);
void sf_destroy(sf_handle *h, int hurry);
int sf_logs(sf_handle *h, sf_log *out, int max, uint64_t *lost);
int sf_fatal(sf_handle *h, char *text, size_t text_size);

int sf_subscribe(sf_handle *h, const char *const *topics, size_t count);
int sf_assign(sf_handle *h, sf_partition *parts, size_t count, int how);
// Gathers a batch; returns its number of records, with the bytes that copying needs.
int64_t sf_gather(sf_handle *h, int timeout_ms, int headers, uint64_t *bytes);
// The same of what is left of the last batch.
int64_t sf_gathered(sf_handle *h, uint64_t *bytes);
// Takes the rebalance that the last batch brought: its code, 0 for none, and its partitions, the caller's to free.
int sf_rebalance(sf_handle *h, sf_partition **parts, size_t *count);
// Copies as many of the gathered records as fit; returns their number. The rest stays for the next call.
int64_t sf_copy(sf_handle *h, int headers, char *arena, uint64_t arena_size, sf_record *records, int64_t max);
// Copies the headers of a record that was handed out with SF_HEADERS_LATER, if they fit; returns their size.
uint64_t sf_headers(sf_handle *h, int32_t message, char *to, uint64_t size);
const char *sf_topic(sf_handle *h, int32_t number);
void sf_drop(sf_handle *h, const char *topic, int32_t partition);
int sf_close(sf_handle *h);
int sf_lost(sf_handle *h);
int sf_cooperative(sf_handle *h);

int sf_commit(sf_handle *h, sf_partition *parts, size_t count);
int sf_committed(sf_handle *h, sf_partition *parts, size_t count, int timeout_ms);
int sf_pause(sf_handle *h, sf_partition *parts, size_t count, int resume);
int sf_seek(sf_handle *h, sf_partition *parts, size_t count, int timeout_ms);
int sf_watermarks(sf_handle *h, const char *topic, int32_t partition, int64_t *low, int64_t *high, int timeout_ms);
void sf_partitions_free(sf_partition *parts, size_t count);

rd_kafka_topic_t *sf_topic_handle(sf_handle *h, const char *topic);
// headers: for each u32 name length, name, i32 value length (-1 NULL), value.
int sf_produce(sf_handle *h, rd_kafka_topic_t *topic, int32_t partition, const char *key, int64_t key_len,
               const char *value, int64_t value_len, int64_t timestamp, const char *headers, int64_t headers_len,
               uint64_t opaque);
int sf_deliveries(sf_handle *h, int timeout_ms, sf_delivery *out, int max);
int sf_flush(sf_handle *h, int timeout_ms);
int sf_queued(sf_handle *h);
void sf_purge(sf_handle *h);
void sf_serve(sf_handle *h, int timeout_ms);

// Asks some broker for the list of brokers, and waits until one is connected and has answered.
int sf_metadata(sf_handle *h, int timeout_ms);
void sf_txn_init(sf_handle *h, int timeout_ms, sf_error *e);
void sf_txn_begin(sf_handle *h, sf_error *e);
void sf_txn_offsets(sf_handle *h, sf_handle *consumer, sf_partition *parts, size_t count, int timeout_ms, sf_error *e);
void sf_txn_commit(sf_handle *h, int timeout_ms, sf_error *e);
void sf_txn_abort(sf_handle *h, int timeout_ms, sf_error *e);

#endif
