// walls: what NetworkPolicies say, as rules of nftables. For the lane's cluster only: the network plugins that do this are not
// to be had as packages, and policies that nobody enforces are tested by nobody.
//
// Pods of all nodes lie on one bridge of this machine, so one table sees everything that goes from pod to pod. What goes between a
// pod and the machine itself (kubelet's probes, servers that tests run here) passes. A pod is held from the moment its address
// is in the API server; what is refused is dropped, so that whoever comes a moment too early gets in by its second SYN. The log
// says who was refused where.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const table = "auricle-walls"

// A way is where a policy looks at a pod's connections.
type way struct {
	kind   networking.PolicyType
	chains string // prefix of its chains
	own    string // the pod's end in nft
	far    string // the other end
}

var (
	out = way{networking.PolicyTypeEgress, "out", "saddr", "daddr"}
	in  = way{networking.PolicyTypeIngress, "in", "daddr", "saddr"}
)

// A rule is one peer list and one port list of a policy, whatever its way.
type rule struct {
	peers []networking.NetworkPolicyPeer
	ports []networking.NetworkPolicyPort
}

// World is what the API server has, as it was a moment ago.
type world struct {
	pods       []*core.Pod
	namespaces map[string]labels.Set
	policies   map[string][]*networking.NetworkPolicy // by namespace
}

func matches(selector *meta.LabelSelector, of labels.Set) bool {
	s, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		log.Printf("a selector that nobody matches: %v", err)
		return false
	}
	return s.Matches(of)
}

func applies(policy *networking.NetworkPolicy, w way) bool {
	return slices.Contains(policy.Spec.PolicyTypes, w.kind)
}

// Lines are what a policy allows.
func (w *world) lines(policy *networking.NetworkPolicy, direction way) []string {
	var allowed []rule
	for _, r := range policy.Spec.Ingress {
		if direction == in {
			allowed = append(allowed, rule{r.From, r.Ports})
		}
	}
	for _, r := range policy.Spec.Egress {
		if direction == out {
			allowed = append(allowed, rule{r.To, r.Ports})
		}
	}
	lines := []string{}
	for _, r := range allowed {
		for _, peer := range w.peers(policy.Namespace, r.peers, direction.far) {
			for _, port := range ports(r.ports) {
				lines = append(lines, "    "+peer+port+"return\n")
			}
		}
	}
	return lines
}

// Addresses of a rule's peers as nft matches, one for each line of rules; "" matches everybody.
func (w *world) peers(namespace string, peers []networking.NetworkPolicyPeer, end string) []string {
	if len(peers) == 0 {
		return []string{""}
	}
	var found []string
	var addresses []string
	for _, peer := range peers {
		if block := peer.IPBlock; block != nil {
			prefix, err := netip.ParsePrefix(block.CIDR)
			if err != nil || !prefix.Addr().Is4() {
				continue // there is no IPv6 here
			}
			match := ""
			if prefix.Bits() > 0 {
				match = fmt.Sprintf("ip %s %s ", end, prefix.Masked())
			}
			if len(block.Except) > 0 {
				match += fmt.Sprintf("ip %s != { %s } ", end, strings.Join(block.Except, ", "))
			}
			found = append(found, match)
			continue
		}
		for _, pod := range w.pods {
			there := pod.Namespace == namespace
			if peer.NamespaceSelector != nil {
				there = matches(peer.NamespaceSelector, w.namespaces[pod.Namespace])
			}
			if there && (peer.PodSelector == nil || matches(peer.PodSelector, pod.Labels)) {
				addresses = append(addresses, pod.Status.PodIP)
			}
		}
	}
	if len(addresses) > 0 {
		sort.Strings(addresses)
		found = append(found, fmt.Sprintf("ip %s { %s } ", end, strings.Join(slices.Compact(addresses), ", ")))
	}
	return found
}

func ports(ports []networking.NetworkPolicyPort) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	by := map[string][]string{}
	for _, port := range ports {
		protocol := core.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		name := strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			by[name] = append(by[name], "0-65535")
		case port.Port.StrVal != "":
			log.Fatalf("a policy names port %q: say its number, this program knows no names", port.Port.StrVal)
		case port.EndPort != nil:
			by[name] = append(by[name], fmt.Sprintf("%d-%d", port.Port.IntVal, *port.EndPort))
		default:
			by[name] = append(by[name], fmt.Sprint(port.Port.IntVal))
		}
	}
	var found []string
	for name, numbers := range by {
		sort.Strings(numbers)
		found = append(found, fmt.Sprintf("%s dport { %s } ", name, strings.Join(slices.Compact(numbers), ", ")))
	}
	sort.Strings(found)
	return found
}

// Table is the whole table: pods that the same policies hold share a chain.
func (w *world) table() string {
	var chains, hooks strings.Builder
	for _, direction := range []way{out, in} {
		number := map[string]int{}
		var entries []string
		said := map[*networking.NetworkPolicy][]string{}
		for _, pod := range w.pods {
			var lines []string
			held := false
			for _, policy := range w.policies[pod.Namespace] {
				if !applies(policy, direction) || !matches(&policy.Spec.PodSelector, pod.Labels) {
					continue
				}
				held = true
				if _, known := said[policy]; !known {
					said[policy] = w.lines(policy, direction)
				}
				lines = append(lines, said[policy]...)
			}
			if !held {
				continue
			}
			sort.Strings(lines)
			body := strings.Join(slices.Compact(lines), "")
			n, known := number[body]
			if !known {
				n = len(number)
				number[body] = n
				fmt.Fprintf(&chains, "  chain %s-%d {\n%s    goto refuse\n  }\n", direction.chains, n, body)
			}
			entries = append(entries, fmt.Sprintf("%s : jump %s-%d", pod.Status.PodIP, direction.chains, n))
		}
		if len(entries) > 0 {
			fmt.Fprintf(&hooks, "    ip %s vmap { %s }\n", direction.own, strings.Join(entries, ", "))
		}
	}
	return fmt.Sprintf(`table inet %[1]s {}
delete table inet %[1]s
table inet %[1]s {
  set refused { type ipv4_addr . ipv4_addr . inet_service; flags dynamic; size 65535; }
  chain refuse {
    tcp dport 0-65535 add @refused { ip saddr . ip daddr . tcp dport }
    drop
  }
%[2]s  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state established,related accept
%[3]s  }
}
`, table, chains.String(), hooks.String())
}

func apply(text string) error {
	command := exec.Command("nft", "-f", "-")
	command.Stdin = strings.NewReader(text)
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, said)
	}
	return nil
}

// Tell logs what has been refused since it was told last. Replacing the table forgets it.
func tell(pods []*core.Pod, told map[string]bool) {
	found, err := exec.Command("nft", "-j", "list", "set", "inet", table, "refused").Output()
	if err != nil {
		return // there is no table yet
	}
	var said struct {
		Nftables []struct {
			Set struct {
				Elem []struct {
					Concat []any `json:"concat"`
				} `json:"elem"`
			} `json:"set"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(found, &said); err != nil {
		log.Print(err)
		return
	}
	names := map[string]string{}
	for _, pod := range pods {
		names[pod.Status.PodIP] = pod.Namespace + "/" + pod.Name
	}
	for _, part := range said.Nftables {
		for _, element := range part.Set.Elem {
			from, to := fmt.Sprint(element.Concat[0]), fmt.Sprint(element.Concat[1])
			ends := fmt.Sprint(from, to, element.Concat[2])
			if !told[ends] {
				log.Printf("refused: %s %s to %s %s, port %v", from, names[from], to, names[to], element.Concat[2])
			}
			told[ends] = true
		}
	}
}

func main() {
	config := flag.String("kubeconfig", "", "whom to ask")
	flag.Parse()
	rest, err := clientcmd.BuildConfigFromFlags("", *config)
	if err != nil {
		log.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(rest), 0)
	pods, namespaces, policies := factory.Core().V1().Pods(), factory.Core().V1().Namespaces(), factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	touch := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { touch() }, UpdateFunc: func(any, any) { touch() }, DeleteFunc: func(any) { touch() },
		})
	}
	ctx := context.Background()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	last, told := "", map[string]bool{}
	for {
		select {
		case <-changed:
			time.Sleep(20 * time.Millisecond) // changes come in flocks
		case <-time.After(5 * time.Second):
		}
		w := world{namespaces: map[string]labels.Set{}}
		all, _ := pods.Lister().List(labels.Everything())
		for _, pod := range all {
			if !pod.Spec.HostNetwork && pod.Status.PodIP != "" && pod.Status.Phase != core.PodSucceeded && pod.Status.Phase != core.PodFailed {
				w.pods = append(w.pods, pod)
			}
		}
		// Of two pods with one address the younger has it: the other is about to be known as ended.
		sort.Slice(w.pods, func(a, b int) bool { return w.pods[b].CreationTimestamp.Before(&w.pods[a].CreationTimestamp) })
		taken := map[string]bool{}
		kept := w.pods[:0]
		for _, pod := range w.pods {
			if !taken[pod.Status.PodIP] {
				kept = append(kept, pod)
			}
			taken[pod.Status.PodIP] = true
		}
		w.pods = kept
		sort.Slice(w.pods, func(a, b int) bool { return w.pods[a].Status.PodIP < w.pods[b].Status.PodIP })
		spaces, _ := namespaces.Lister().List(labels.Everything())
		for _, space := range spaces {
			w.namespaces[space.Name] = space.Labels
		}
		w.policies = map[string][]*networking.NetworkPolicy{}
		said, _ := policies.Lister().List(labels.Everything())
		for _, policy := range said {
			w.policies[policy.Namespace] = append(w.policies[policy.Namespace], policy)
		}
		text := w.table()
		tell(w.pods, told)
		if text == last {
			continue
		}
		if err := apply(text); err != nil {
			log.Print(err)
			time.Sleep(time.Second)
			touch()
			continue
		}
		last = text
	}
}
