package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ck "github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// ACL is one access right as a cluster keeps it. The words are Kafka's own, in upper case.
type ACL struct {
	// Principal is who: "User:parser".
	Principal string
	// Host from which; "*" is every one.
	Host string
	// Resource is TOPIC, GROUP, TRANSACTIONAL_ID or CLUSTER; Name is which, and with Prefixed every one whose name begins so.
	Resource string
	Name     string
	Prefixed bool
	// Operation is READ, WRITE, DESCRIBE_CONFIGS, …
	Operation string
	// Deny takes away instead of granting.
	Deny bool
}

// aclResources are Kafka's names by librdkafka's numbers (rd_kafka_ResourceType_t). The Go client names only three of them,
// and calls the cluster a broker.
var aclResources = []string{"UNKNOWN", "ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID"}

// String is the right in words.
func (a ACL) String() string {
	verb, pattern, from := "may", "", ""
	if a.Deny {
		verb = "may not"
	}
	if a.Prefixed {
		pattern = "*"
	}
	if a.Host != "*" {
		from = " from " + a.Host
	}
	return fmt.Sprintf("%s %s %s %s %s%s%s", a.Principal, verb, a.Operation, strings.ToLower(a.Resource), a.Name, pattern, from)
}

func (a ACL) binding() (ck.ACLBinding, error) {
	b := ck.ACLBinding{
		Name: a.Name, ResourcePatternType: ck.ResourcePatternTypeLiteral, Principal: a.Principal, Host: a.Host,
		PermissionType: ck.ACLPermissionTypeAllow,
	}
	if a.Prefixed {
		b.ResourcePatternType = ck.ResourcePatternTypePrefixed
	}
	if a.Deny {
		b.PermissionType = ck.ACLPermissionTypeDeny
	}
	var err error
	if b.Type = ck.ResourceType(slices.Index(aclResources, a.Resource)); b.Type <= ck.ResourceAny {
		return b, fmt.Errorf("access right %s: resource %q is not one of %s", a, a.Resource, strings.Join(aclResources[ck.ResourceTopic:], ", "))
	}
	if b.Operation, err = ck.ACLOperationFromString(a.Operation); err != nil {
		return b, fmt.Errorf("access right %s: operation %q: %w", a, a.Operation, err)
	}
	return b, nil
}

func fromBinding(b ck.ACLBinding) ACL {
	resource := strings.ToUpper(b.Type.String())
	if int(b.Type) < len(aclResources) {
		resource = aclResources[b.Type]
	}
	return ACL{
		Principal: b.Principal, Host: b.Host, Resource: resource, Name: b.Name,
		Prefixed:  b.ResourcePatternType == ck.ResourcePatternTypePrefixed,
		Operation: strings.ToUpper(b.Operation.String()), Deny: b.PermissionType == ck.ACLPermissionTypeDeny,
	}
}

// ErrNoAuthorizer: the cluster keeps no access rights, everybody may do everything.
var ErrNoAuthorizer = errors.New("the cluster has no authorizer")

// ACLs lists every access right of the cluster, in the order of their words. ErrNoAuthorizer: it has none to list.
func (a *Admin) ACLs(ctx context.Context) ([]ACL, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	result, err := a.admin.DescribeACLs(ctx, ck.ACLBindingFilter{
		Type: ck.ResourceAny, ResourcePatternType: ck.ResourcePatternTypeAny, Operation: ck.ACLOperationAny, PermissionType: ck.ACLPermissionTypeAny,
	})
	if err == nil && result.Error.Code() != ck.ErrNoError {
		err = result.Error
	}
	if err != nil {
		return nil, a.aclError("listing access rights", err)
	}
	if len(result.ACLBindings) == 0 {
		// librdkafka 2.13 makes an empty list of an answer that is an error (no authorizer, no right to ask). Taking away a
		// right that nobody has changes nothing, and its error is told.
		if err := a.DeleteACLs(ctx, noRight); err != nil {
			return nil, err
		}
	}
	rights := make([]ACL, len(result.ACLBindings))
	for i, b := range result.ACLBindings {
		rights[i] = fromBinding(b)
	}
	slices.SortFunc(rights, func(a, b ACL) int { return strings.Compare(a.String(), b.String()) })
	return rights, nil
}

// noRight is one that no cluster has: a topic cannot have this name.
var noRight = ACL{Principal: "User:nobody", Host: "*", Resource: "TOPIC", Name: "no/topic", Operation: "READ", Deny: true}

// CreateACLs grants (or denies) the rights; one that exists is as good as made.
func (a *Admin) CreateACLs(ctx context.Context, rights ...ACL) error {
	bindings, err := bindingsOf(rights)
	if err != nil || len(bindings) == 0 {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	results, err := a.admin.CreateACLs(ctx, bindings)
	if err != nil {
		return a.aclError("making access rights", err)
	}
	var errs []error
	for i, r := range results {
		if r.Error.Code() != ck.ErrNoError {
			errs = append(errs, a.aclError("making the access right "+rights[i].String(), r.Error))
		}
	}
	return errors.Join(errs...)
}

// DeleteACLs takes exactly these rights away; one that does not exist is as good as taken.
func (a *Admin) DeleteACLs(ctx context.Context, rights ...ACL) error {
	bindings, err := bindingsOf(rights)
	if err != nil || len(bindings) == 0 {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	results, err := a.admin.DeleteACLs(ctx, ck.ACLBindingFilters(bindings))
	if err != nil {
		return a.aclError("taking access rights away", err)
	}
	var errs []error
	for i, r := range results {
		if r.Error.Code() != ck.ErrNoError {
			errs = append(errs, a.aclError("taking away the access right "+rights[i].String(), r.Error))
		}
	}
	return errors.Join(errs...)
}

func bindingsOf(rights []ACL) (ck.ACLBindings, error) {
	bindings := make(ck.ACLBindings, len(rights))
	for i, r := range rights {
		var err error
		if bindings[i], err = r.binding(); err != nil {
			return nil, err
		}
	}
	return bindings, nil
}

func (a *Admin) aclError(doing string, err error) error {
	var ke ck.Error
	if errors.As(err, &ke) && ke.Code() == ck.ErrSecurityDisabled {
		return fmt.Errorf("%s: kafka at %s: %w", doing, a.bootstrap, ErrNoAuthorizer)
	}
	return a.adminError(doing, err)
}
