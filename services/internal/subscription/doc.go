// Package subscription is what a program rests on that attaches to data products: it joins a consumer group, reads each
// product's records by the schema that the program was written against, whatever live version they were written with,
// hands them over as typed events, and commits what was handled together with what the handlers produced, exactly once.
// A body that cannot be decoded goes to the dead letters; what is not the record's fault blocks and alarms.
package subscription
