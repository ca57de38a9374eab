package ddl

// distributedEnding is what the name of a table over all shards ends with.
const distributedEnding = "_all"

// readable is what has all rows of a table: itself, or the table over all shards.
func (s Spec) readable(options Options) Spec {
	if options.Sharded && options.Cluster != "" {
		s.Table += distributedEnding
	}
	return s
}

// Distributed is the name of the table over all shards and the statement that makes it, or makes it again with the columns that
// the shards' tables have now: it holds no rows. The name is empty where there are no shards.
//
// A row belongs to the shard of its Kafka partition. That keeps a symbol together, whose records are all in one partition, and a
// partition, so that what a writer looks up of a block's range is on one server and a view's group is whole there. Writers insert
// into the shard's own table: a Distributed one would cut a block and its token into pieces.
func Distributed(spec Spec, options Options) (name, statement string) {
	all := spec.readable(options)
	if all.Table == spec.Table {
		return "", ""
	}
	statement = "CREATE OR REPLACE TABLE " + all.Name() + options.onCluster() + " AS " + spec.Name() +
		"\nENGINE = Distributed(" + QuoteString(options.Cluster) + ", " + QuoteString(spec.Database) + ", " + QuoteString(spec.Table)
	if spec.Engine == "" {
		statement += ", " + QuoteName(MetaPartition) // Into the states of a view nobody inserts.
	}
	statement += ")"
	if spec.Comment != "" {
		statement += "\nCOMMENT " + QuoteString(spec.Comment)
	}
	return all.Table, statement
}
