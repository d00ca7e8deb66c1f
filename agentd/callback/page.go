package callback

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"

	"agentd.dev/agentd/approvals"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// A view is what the page shows.
type view struct {
	Style   template.CSS
	Title   string
	Problem string
	Request *approvals.Request // nil: nothing but Title and Problem
	Pending bool
	Token   string // of the link
	As      string // whose link it is, "" for one that many read
}

// page shows a request to whoever has a link to it. It never decides.
func (h *handling) page(w http.ResponseWriter, r *http.Request, id string) {
	q := r.URL.Query()
	token, as := q.Get("t"), q.Get("as")
	if err := h.linked(r, id, token, as); err != nil {
		render(w, code(err), view{Title: "Not a valid link", Problem: err.Error()})
		return
	}
	request, err := h.find(id)
	if err != nil {
		render(w, code(err), view{Title: "No such request", Problem: "It is over, and not kept any more."})
		return
	}
	render(w, http.StatusOK, view{
		Title: "A request for approval", Request: &request, Pending: request.State == approvals.Pending, Token: token, As: as,
	})
}

// linked checks a link, and counts one that is wrong against its address.
func (h *handling) linked(r *http.Request, id, token, as string) error {
	_, err := h.counting(source(r.RemoteAddr), func() (*Approver, error) { return nil, h.Links.check(token, id, as) })
	return err
}

// decideByForm takes the vote of somebody with a link: theirs alone, or one that
// many read, with a token that says who they are.
func (h *handling) decideByForm(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if r.ParseForm() != nil {
		render(w, http.StatusBadRequest, view{Title: "Not decided", Problem: errRequest.Error()})
		return
	}
	f := r.PostForm
	token, as := f.Get("t"), f.Get("as")
	d := decision{Decision: f.Get("decision"), Reason: strings.TrimSpace(f.Get("reason")), Shown: f.Get("shown")}
	request, err := h.byLink(r, id, token, as, f.Get("token"), &d)
	if err != nil {
		render(w, code(err), view{Title: "Not decided", Problem: err.Error()})
		return
	}
	render(w, http.StatusOK, view{Title: "Your decision is recorded", Request: &request})
}

func (h *handling) byLink(r *http.Request, id, token, as, personal string, d *decision) (approvals.Request, error) {
	if err := h.linked(r, id, token, as); err != nil {
		return approvals.Request{}, err
	}
	if as == "" {
		who, err := h.known(r, personal)
		if err != nil {
			return approvals.Request{}, err
		}
		return h.vote(id, d, who)
	}
	who, err := h.named(as)
	if err != nil {
		return approvals.Request{}, err
	}
	if err := h.Links.take(token, id, as); err != nil {
		return approvals.Request{}, err
	}
	request, err := h.vote(id, d, who)
	if err != nil {
		h.Links.giveBack(token) // nothing was decided by it
	}
	return request, err
}

// render sends a page that loads nothing, runs nothing, is in no frame, and
// sends its form here alone.
func render(w http.ResponseWriter, code int, v view) {
	v.Style = template.CSS(pageStyle)
	sum := sha256.Sum256([]byte(pageStyle))
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	head.Set("X-Frame-Options", "DENY")
	head.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(code)
	_ = pageTemplate.Execute(w, v) // the client is gone
}
