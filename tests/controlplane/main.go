// Command controlplane is a real Kubernetes control plane in one static binary, for writ's tests and its demo.
//
// Which program it is follows from the name it is called by (etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
// kubectl: symbolic links beside the binary) or, called as controlplane, from its first argument. The programs are the
// upstream ones, imported as ordinary dependencies; each keeps its own flags.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "time/tzdata" // CronJob time zones, as in the upstream programs

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics of every component
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// Exit status of a call that names no program, as in sysexits.h.
const usage = 64

var programs = map[string]func(arguments []string) int{
	"etcd": func(arguments []string) int {
		etcdmain.Main(arguments) // ends the process itself on every failure
		return 0
	},
	"kube-apiserver":          command(apiserver.NewAPIServerCommand),
	"kube-controller-manager": command(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubectl":                 runKubectl,
}

// command runs a cobra program. Upstream reads os.Args in places, so they are what they would be in the program of that name.
func command(build func() *cobra.Command) func([]string) int {
	return func(arguments []string) int {
		os.Args = arguments
		return cli.Run(build())
	}
}

// runKubectl is upstream's main of kubectl: errors are printed in its own words, with its own exit status.
func runKubectl(arguments []string) int {
	os.Args = arguments
	logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)) //nolint:errcheck // an unknown verbosity is the flag parser's to refuse
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // ends the process
	}
	return 0
}

func main() {
	os.Exit(dispatch(os.Args))
}

func dispatch(arguments []string) int {
	if run, found := programs[filepath.Base(arguments[0])]; found {
		return run(arguments)
	}
	if len(arguments) > 1 {
		if run, found := programs[arguments[1]]; found {
			return run(arguments[1:])
		}
	}
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "usage: %s PROGRAM [FLAG]...\nprograms: %s\n", filepath.Base(arguments[0]), strings.Join(names, ", "))
	return usage
}
